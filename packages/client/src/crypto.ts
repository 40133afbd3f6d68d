import { BeckonError } from "./errors.ts";
import type { SealCrypto } from "./options.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export const webCrypto: SealCrypto = {
  async open(key, nonce, sealed, associatedData) {
    const { crypto } = globalThis as { readonly crypto?: Crypto };
    const subtle = crypto?.subtle;
    if (subtle === undefined) throw new BeckonError("unsupported-runtime", "crypto.subtle");
    const imported = await subtle.importKey("raw", key as Bytes, "AES-GCM", false, ["decrypt"]);
    const algorithm = {
      name: "AES-GCM",
      iv: nonce as Bytes,
      additionalData: associatedData as Bytes,
    };
    return new Uint8Array(await subtle.decrypt(algorithm, imported, sealed as Bytes));
  },
};
