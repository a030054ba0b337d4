// What proves who we are to one registry.

export type Login =
  /** `user:password` in base 64: what follows `Basic `. */
  | { readonly kind: "basic"; readonly basic: string }
  /** An OAuth2 refresh token, which the registry's token service takes instead of a password; Docker calls it identity token. */
  | { readonly kind: "identity"; readonly refreshToken: string }
  /** A bearer token that is sent as it is; Docker calls it registry token. */
  | { readonly kind: "bearer"; readonly token: string };

export function basicLogin(user: string, password: string): Login {
  return { kind: "basic", basic: Buffer.from(`${user}:${password}`).toString("base64") };
}

/** RFC 7617, section 2: the first colon ends the user's name, so there is none in it. Neither part may be empty. */
export function isBasicPair(user: string, password: string): boolean {
  return user !== "" && !user.includes(":") && password !== "";
}

/** What may stand in a header as a token: visible ASCII. */
export function isHeaderSafe(token: string): boolean {
  return /^[\x21-\x7e]+$/.test(token);
}
