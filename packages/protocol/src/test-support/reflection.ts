import { readFileSync } from "node:fs";
import { Enum, parse, type Field, type Root, Type } from "protobufjs";

import type { Frame } from "../frames.ts";

/** The schema as protobufjs reads it: a second codec, which shares nothing with ours. */
export const schema: Root = parse(
  readFileSync(new URL("../../beckon.proto", import.meta.url), "utf8"),
).root;

export const FrameType: Type = messageType("Frame");

export function messageType(name: string): Type {
  return schema.lookupType(`beckon.v1.${name}`);
}

/** A frame in protobufjs's bytes, without the length in front. */
export function encodeByReflection(frame: Frame): Uint8Array {
  const { [frame.type]: field } = FrameType.fields;
  return FrameType.encode({ [frame.type]: toMessage(typeOf(field!), frame) }).finish();
}

/** The frame that protobufjs reads from bytes without the length in front. */
export function decodeByReflection(bytes: Uint8Array): Frame {
  const message = FrameType.decode(bytes);
  const kinds = FrameType.fieldsArray.filter((field) => Object.hasOwn(message, field.name));
  if (kinds.length !== 1) throw new Error(`${kinds.length} kinds in a frame`);
  const { name } = kinds[0]!;
  const values = fromMessage(typeOf(kinds[0]!), Reflect.get(message, name));
  return { type: name, ...values } as unknown as Frame;
}

/** Our object as protobufjs wants it: enum values by their number. */
export function toMessage(type: Type, values: object): Record<string, unknown> {
  const message: Record<string, unknown> = {};
  for (const field of type.fieldsArray) {
    const value: unknown = Reflect.get(values, field.name);
    if (value === undefined) continue;
    message[field.name] = Array.isArray(value)
      ? value.map((element) => toValue(field, element))
      : toValue(field, value);
  }
  return message;
}

function toValue(field: Field, value: unknown): unknown {
  const type = field.resolve().resolvedType;
  if (type instanceof Type) return toMessage(type, value as object);
  if (type instanceof Enum) return type.values[enumName(type, value as string)];
  return value;
}

/** What protobufjs read, as our object: every property there, 64-bit numbers as numbers. */
export function fromMessage(type: Type, message: object): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const field of type.fieldsArray) {
    const given: unknown = Object.hasOwn(message, field.name)
      ? Reflect.get(message, field.name)
      : undefined;
    if (Array.isArray(given)) {
      values[field.name] = given.map((element) => fromValue(field, element));
    } else if (field.repeated) {
      values[field.name] = [];
    } else if (given !== undefined || !isOptional(field)) {
      values[field.name] = fromValue(field, given);
    }
  }
  // Count 0 stands for 1.
  if (type.name === "Ack" && values["count"] === 0) values["count"] = 1;
  return values;
}

function fromValue(field: Field, value: unknown): unknown {
  const type = field.resolve().resolvedType;
  if (type instanceof Type) return fromMessage(type, (value as object | undefined) ?? {});
  if (type instanceof Enum) return ourName(type.valuesById[(value as number | undefined) ?? 0]!);
  switch (field.type) {
    case "uint64":
      return Number(value ?? 0);
    case "bytes":
      return Uint8Array.from((value as Uint8Array | undefined) ?? []);
    case "string":
      return value ?? "";
    default:
      return value ?? false;
  }
}

/** The only message that a frame may do without. */
function isOptional(field: Field): boolean {
  return field.type === "PushRegistration";
}

export function typeOf(field: Field): Type {
  const type = field.resolve().resolvedType;
  if (!(type instanceof Type)) throw new Error(`${field.name} is not a message`);
  return type;
}

function enumName(type: Enum, ours: string): string {
  const prefix = type.name === "WakeClass" ? "WAKE_" : "";
  return prefix + ours.toUpperCase();
}

/** WAKE_CALL is our "call"; HELD is our "held". */
function ourName(theirs: string): string {
  return theirs.replace(/^WAKE_/, "").toLowerCase();
}
