// The gateway needs no privilege. Started as root, it becomes an ordinary user before it answers anybody.

import { readFileSync } from "node:fs";
import { MayflyError } from "../core/errors.ts";

/** Returns the user's name if it was root and is not any more. Throws `configuration_invalid` rather than stay root. */
export function dropPrivileges(user: string): string | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const { uid, gid } = findUser(user, readFileSync("/etc/passwd", "utf8"));
  if (uid === 0) throw new MayflyError("configuration_invalid", `MAYFLY_GATEWAY_USER=${user} is root`);
  process.setgroups?.([]);
  process.setgid?.(gid);
  process.setuid?.(uid);
  if (process.getuid() === 0 || process.geteuid?.() === 0)
    throw new MayflyError("configuration_invalid", "the gateway is still root");
  return user;
}

/** A line is `nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin` (passwd(5)). */
export function findUser(name: string, passwd: string): { uid: number; gid: number } {
  for (const line of passwd.split("\n")) {
    const [entry, , uid, gid] = line.split(":");
    if (entry === name && /^\d+$/.test(uid ?? "") && /^\d+$/.test(gid ?? ""))
      return { uid: Number(uid), gid: Number(gid) };
  }
  throw new MayflyError("configuration_invalid", `MAYFLY_GATEWAY_USER=${name} is not in /etc/passwd`);
}
