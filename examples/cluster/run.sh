#!/usr/bin/env bash
# The same as compose.yaml, as processes on this machine: NATS, PostgreSQL, a push service and three servers, on 127.0.0.1.
# Needs `npm ci` in the clone, openssl, curl, nats-server and PostgreSQL 15 or newer: apt-get install -y nats-server postgresql
# Ctrl-C ends them all. PostgreSQL's data stay in $DATA; delete the folder to begin anew.
# With job control each process is a group of its own: Ctrl-C reaches this script alone, which ends them in their order.
set -euo pipefail -m
cd "$(dirname "$0")"
./make-secrets.sh

data=${DATA:-/tmp/beckon-cluster}
# Not the usual ports of NATS and PostgreSQL: they may run here already.
nats_port=${NATS_PORT:-24222}
monitor_port=${MONITOR_PORT:-28222}
postgres_port=${POSTGRES_PORT:-25432}
push_port=${PUSH_PORT:-4690}
read -r -a device_ports <<<"${DEVICE_PORTS:-8081 8082 8083}"
read -r -a admin_ports <<<"${ADMIN_PORTS:-9091 9092 9093}"
# Not `npx beckon`: so that the process that is named below is the server itself.
beckon=(../../node_modules/.bin/bun ../../packages/cli/src/main.ts)

engines=()
servers=()
end() {
  trap - EXIT
  # Servers first: what they have under way goes to the two others.
  for pids in "${servers[*]}" "${engines[*]}"; do
    for pid in $pids; do kill -INT "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" || true; done
  done
}
trap end EXIT
trap 'exit 0' INT TERM

# ready WHAT PID COMMAND…: waits until the command succeeds.
ready() {
  local what=$1 pid=$2
  shift 2
  for ((i = 0; i < 300; i++)); do
    if ! kill -0 "$pid" 2>/dev/null; then
      echo "$what has ended: is its port taken?" >&2
      exit 1
    fi
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  echo "$what is not ready after 30 seconds" >&2
  exit 1
}

nats-server --config nats.conf --addr 127.0.0.1 --port "$nats_port" --log "$data.nats.log" \
  --http_port "$monitor_port" &
engines+=($!)
ready NATS $! curl --fail --silent "http://127.0.0.1:$monitor_port/healthz"

# PostgreSQL refuses to run as root.
as=()
if ((EUID == 0)); then as=(env --chdir=/ setpriv --reuid=postgres --regid=postgres --init-groups); fi
PATH=$(printf '%s:' /usr/lib/postgresql/*/bin)$PATH
if [[ ! -s $data/PG_VERSION ]]; then
  mkdir -p "$data"
  if ((EUID == 0)); then chown postgres:postgres "$data"; fi
  "${as[@]}" initdb --pgdata "$data" --username beckon --auth-local trust --auth-host scram-sha-256 \
    --data-checksums >"$data.initdb.log"
fi
"${as[@]}" postgres -D "$data" -h 127.0.0.1 -p "$postgres_port" -k "$data" \
  --fsync=on --synchronous_commit=on --full_page_writes=on --max_connections=100 2>"$data.postgres.log" &
engines+=($!)
sql=(psql --quiet --host "$data" --port "$postgres_port" --username beckon)
ready PostgreSQL $! "${sql[@]}" --dbname postgres --command 'SELECT 1'
"${sql[@]}" --dbname postgres <<<"ALTER ROLE beckon PASSWORD '$(cat secrets/postgres-password)'"
"${sql[@]}" --dbname beckon --command 'SELECT 1' >/dev/null 2>&1 ||
  "${sql[@]}" --dbname postgres --command 'CREATE DATABASE beckon'

"${beckon[@]}" push --listen "127.0.0.1:$push_port" &
engines+=($!)
ready "the push service" $! curl --silent "http://127.0.0.1:$push_port/"

# serve NAME DEVICE_PORT ADMIN_PORT
serve() {
  BECKON_NAME=$1 \
    BECKON_LISTEN=127.0.0.1:$2 \
    BECKON_ADMIN=127.0.0.1:$3 \
    BECKON_ADDRESS_0_URL=ws://127.0.0.1:$2 \
    BECKON_BUS=nats://beckon@127.0.0.1:$nats_port \
    BECKON_NATS_PASSWORD_FILE=secrets/nats-password \
    BECKON_STORE=postgres://beckon@127.0.0.1:$postgres_port/beckon \
    BECKON_POSTGRES_PASSWORD_FILE=secrets/postgres-password \
    BECKON_CLUSTER_KEY_FILE=secrets/cluster-key \
    BECKON_AUTH_SECRET_FILE=secrets/auth-secret \
    BECKON_AUTH_SEND=anyone \
    BECKON_API_TOKEN_FILE=secrets/api-token \
    BECKON_PUSH_DEV_URL=http://127.0.0.1:$push_port \
    BECKON_DRAIN_DEADLINE=10s \
    "${beckon[@]}" serve &
  servers+=($!)
  echo "$1 is process $!: kill -9 $!"
}
for at in 0 1 2; do serve "s$((at + 1))" "${device_ports[at]}" "${admin_ports[at]}"; done
for at in 0 1 2; do
  ready "s$((at + 1))" "${servers[at]}" curl --fail --silent "http://127.0.0.1:${admin_ports[at]}/readyz"
done
echo "All three are ready. Ctrl-C ends them."
# Until all have ended, or Ctrl-C.
wait "${servers[@]}" || true
