import * as z from "zod";

import { type Endpoint, endpoints } from "./endpoints.ts";
import { errorBody, type ErrorStatus, statusOf } from "./errors.ts";

type Json = Record<string, unknown>;

/** The OpenAPI document (3.1) of the admin API, made from what the server itself checks by. */
export function openApiDocument(version: string): Json {
  const paths: Record<string, Json> = {};
  for (const [name, endpoint] of Object.entries(endpoints)) {
    paths[endpoint.path] = {
      ...paths[endpoint.path],
      [endpoint.method]: operation(name, endpoint),
    };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Beckon admin API",
      version,
      description: "For the application's backend and the operator; on the admin address.",
    },
    paths,
    components: {
      securitySchemes: { adminToken: { type: "http", scheme: "bearer" } },
      schemas: { Error: jsonSchema(errorBody, "output") },
    },
  };
}

function operation(name: string, endpoint: Endpoint): Json {
  const { summary, description, secured, params, body, answers } = endpoint;
  return {
    operationId: name,
    summary,
    ...(description === undefined ? {} : { description }),
    security: secured ? [{ adminToken: [] }] : [],
    ...(params === undefined ? {} : { parameters: parameters(params) }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: content("application/json", body, "input") } }),
    responses: {
      ...Object.fromEntries(
        answers.map(({ status, description, type, schema }) => [
          status,
          {
            description,
            ...(schema === undefined ? {} : { content: content(type ?? "", schema, "output") }),
          },
        ]),
      ),
      ...errorResponses(endpoint),
    },
  };
}

function parameters(params: z.ZodObject): Json[] {
  return Object.entries(params.shape).map(([name, schema]) => ({
    name,
    in: "path",
    required: true,
    schema: jsonSchema(schema, "input"),
  }));
}

/** One answer a status; a status that is an answer of the endpoint itself is described there. */
function errorResponses({ errors, secured, answers }: Endpoint): Json {
  const codes = new Map<ErrorStatus, string[]>();
  for (const code of secured ? (["bad-token", ...errors] as const) : errors) {
    const status = statusOf(code);
    if (answers.some((answer) => answer.status === status)) continue;
    codes.set(status, [...(codes.get(status) ?? []), `\`${code}\``]);
  }
  const reference = { $ref: "#/components/schemas/Error" };
  return Object.fromEntries(
    [...codes].map(([status, names]) => [
      status,
      {
        description: `${names.join(", ")}.`,
        content: { "application/json": { schema: reference } },
      },
    ]),
  );
}

function content(type: string, schema: z.ZodType, io: "input" | "output"): Json {
  return { [type]: { schema: jsonSchema(schema, io) } };
}

function jsonSchema(schema: z.core.$ZodType, io: "input" | "output"): Json {
  const {
    $schema: _,
    id: __,
    ...rest
  } = z.toJSONSchema(schema, { io, target: "draft-2020-12" }) as Json;
  return rest;
}
