import { BadCertificate, concerns } from "../gateway/certificate.ts";
import { loadCertificate, type TlsFiles } from "../gateway/certificate-watch.ts";
import type { Files } from "./files.ts";

/** A configuration keeps where the files are: the server reads them itself, again and again. */
export async function resolveTls(
  given: TlsFiles | undefined,
  isStrict: boolean,
  files: Files,
): Promise<TlsFiles | undefined> {
  if (given === undefined) return undefined;
  const tls = {
    certFile: files.path("tls.cert_file", given.certFile),
    keyFile: files.path("tls.key_file", given.keyFile),
  };
  const said = { cert_file: given.certFile, key_file: given.keyFile };
  try {
    const certificate = await loadCertificate(tls);
    for (const { file, message } of isStrict ? concerns(certificate, Date.now()) : []) {
      files.problem(`tls.${file}`, `${said[file]}: ${message}`);
    }
  } catch (error) {
    if (!(error instanceof BadCertificate)) throw error;
    files.problem(`tls.${error.file}`, `${said[error.file]}: ${error.message}`);
  }
  return tls;
}
