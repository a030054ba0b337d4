// Prints the policy file for a launcher that is started by somebody else, such as systemd:
//
//   node runtime/launcher/print-policy.ts SECCOMP_PROFILE UID_BASE > policy

import { readFileSync } from "node:fs";
import { CAPABILITIES } from "../bundle/config.ts";
import { resolveSeccomp } from "../bundle/seccomp.ts";
import { policyText } from "./policy.ts";

const [profile, uidBase] = process.argv.slice(2);
if (!profile || !uidBase || !/^\d+$/.test(uidBase)) throw new Error("usage: print-policy.ts SECCOMP_PROFILE UID_BASE");

const seccomp = resolveSeccomp(JSON.parse(readFileSync(profile, "utf8")), process.arch, CAPABILITIES);
process.stdout.write(policyText({ uidBase: Number(uidBase), seccomp }));
