/** Says what a page finds where it runs, and throws what it is told to. */
import { connect } from "@beckon/client";

document.title = `${isSecureContext ? "secure" : "insecure"}, ${typeof connect}`;

const words = new URLSearchParams(location.search).get("throw");
if (words !== null) throw new Error(words);
