// What PID 1 could not do for a reason that lies in the request, or in the image: no host would do better.

import { MayflyError } from "../../core/errors.ts";

/** Undefined if the stage is none of those. Of `files` the message begins with the number of the file. */
export function requestRefused(stage: string, message: string): MayflyError | undefined {
  if (stage === "user" || stage === "workdir")
    return new MayflyError("invalid_field", `${stage}: ${message}`, { details: { field: stage } });
  const [, which, why] = /^(\d+) (.*)$/s.exec(stage === "files" ? message : "") ?? [];
  if (which === undefined) return undefined;
  const field = `files.${which}`;
  return new MayflyError("invalid_field", `${field} cannot be written: ${why}`, { details: { field } });
}
