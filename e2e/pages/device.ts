/** A device in a page, which keeps what it must in the browser's database. */
import { connect } from "@beckon/client";
import { indexedDb } from "@beckon/client/storage";

import { drive, type Report } from "../programs/drive.ts";

const {
  server = "",
  token = "",
  user = "",
  hold = "",
  push = "",
} = Object.fromEntries(new URLSearchParams(location.search));

let writing = 0;
// oxlint-disable-next-line typescript/unbound-method -- it is called with its database
const { transaction } = IDBDatabase.prototype;
IDBDatabase.prototype.transaction = function counted(this: IDBDatabase, names, mode, options) {
  const made = transaction.call(this, names, mode, options);
  if (mode !== "readwrite") return made;
  writing++;
  for (const end of ["complete", "abort"]) made.addEventListener(end, () => writing--);
  return made;
};

const reports: Report[] = [];
const beckon = connect({
  servers: [server],
  token: () => token,
  storage: indexedDb(user),
  ...(push !== "" && { push: { provider: "dev", token: push } }),
});
const obey = drive(
  beckon,
  hold,
  () => writing > 0,
  (what) => void reports.push(what),
);

Object.assign(globalThis, { reports, obey });
