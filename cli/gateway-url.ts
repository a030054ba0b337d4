// What may be the address of a gateway.

export const GATEWAY_URL_FORM = "an http or https URL without a user name";

/** A user name in a URL would be sent to logs and shown by `ps`; keys have places of their own. */
export function isGatewayUrl(value: string): boolean {
  const url = URL.parse(value);
  return url !== null && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
}
