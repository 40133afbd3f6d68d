export { PROTOCOL_VERSION } from "@beckon/protocol";
