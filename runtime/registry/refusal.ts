// What a registry's refusal means to Mayfly: the one place where its HTTP statuses become errors.

import { type ErrorReason, MayflyError } from "../../core/errors.ts";
import { shown } from "../image/foreign-text.ts";
import type { Answer } from "./answer.ts";
import { retryAfterMs } from "./gate.ts";

/** Enough for the errors document of the distribution specification; the rest of a refusal's body is not read. */
const MAX_REFUSAL_BYTES = 8 * 1024;
const MAX_QUOTED_CHARACTERS = 200;

/** An error for an answer that is not a success, in the registry's own words where it has some. Reads the body to its end. */
export async function refusalOf(answer: Answer, what: string): Promise<MayflyError> {
  const words = quote(await answer.bytes(MAX_REFUSAL_BYTES).catch(() => undefined)); // The status alone says enough.
  const waitMs = retryAfterMs(answer);
  return new MayflyError(reasonOf(answer.status), `${what}: the registry answers ${answer.status}${words}`, {
    details: {
      host: answer.url.host,
      status: answer.status,
      ...(waitMs === undefined ? {} : { retryAfterS: Math.ceil(waitMs / 1_000) }),
    },
  });
}

/** A status that the specification does not know for a GET means a registry that speaks another language. */
function reasonOf(status: number): ErrorReason {
  if (status === 401 || status === 403) return "image_access_denied";
  if (status === 404) return "image_not_found";
  if (status === 429 || status >= 500) return "registry_unavailable";
  return "image_unsupported";
}

function quote(body: Buffer | undefined): string {
  const text = shown(messageOf(body?.toString("utf8") ?? ""), MAX_QUOTED_CHARACTERS);
  return text === "" ? "" : ` (${text})`;
}

/** `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`; a page of HTML helps nobody. */
function messageOf(text: string): string {
  try {
    const first = JSON.parse(text)?.errors?.[0];
    return `${first?.code ?? ""} ${first?.message ?? ""}`;
  } catch {
    return "";
  }
}
