import { PROTOCOL_VERSION } from "@beckon/protocol";

console.log(`beckon: protocol ${PROTOCOL_VERSION}`);
