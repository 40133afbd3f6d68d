/** What is used of it; the package has no types. */
declare module "http_ece" {
  import type { ECDH } from "node:crypto";

  interface Params {
    readonly version: "aes128gcm";
    readonly privateKey: ECDH;
    readonly authSecret: Uint8Array;
  }

  const ece: { decrypt(body: Uint8Array, params: Params): Buffer };
  export default ece;
}
