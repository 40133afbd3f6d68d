#!/bin/sh
# Makes what the example must keep secret: secrets/, a file each, and .env, which tells compose where they are.
# What is there already stays: a new password would not be PostgreSQL's, a new key would be another system's.
set -eu
cd "$(dirname "$0")"
# Only who owns the folder gets at the files; in a container, where no folder is around them, its user has to read them.
mkdir -p secrets
chmod 700 secrets
umask 022
for name in auth-secret cluster-key api-token nats-password postgres-password; do
  [ -s "secrets/$name" ] || openssl rand -hex 32 > "secrets/$name"
done
# NATS reads a password from its configuration alone.
printf 'password: "%s"\n' "$(cat secrets/nats-password)" > secrets/nats-password.conf
echo 'SECRETS=./secrets' > .env
