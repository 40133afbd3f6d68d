/** A message of the application's backend, by a server's admin API; the answer is its status. */
export async function sayByApi(
  admin: string,
  apiToken: string,
  to: string,
  text: string,
): Promise<string> {
  const response = await fetch(new URL("/v1/messages", admin), {
    method: "POST",
    headers: { authorization: `Bearer ${apiToken}`, "content-type": "application/json" },
    body: JSON.stringify({ from: "shop", to, text }),
  });
  return ((await response.json()) as { status: string }).status;
}
