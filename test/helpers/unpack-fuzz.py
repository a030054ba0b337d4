# Feeds mayfly-unpack with an archive in which a few bytes are wrong, again and again, in a memory file system of its own:
#
#   unshare -m python3 unpack-fuzz.py PROGRAM ARCHIVE DIRECTORY ROUNDS SEED
#
# Writes as JSON how often each exit status came, and the rounds that ended otherwise than they may: with another status than 0 and 3,
# in more than one line, or with a change outside the layer's directory.

import json, os, random, subprocess, sys

program, archive, directory, rounds, seed = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
draw = random.Random(seed)
good = open(archive, "rb").read()
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
os.chdir(directory)
os.mkdir("beside")
with open("beside/secret", "w") as secret: secret.write("untouched")


def sealed(block):
    """A header with its checksum made right, so that what is wrong gets past it."""
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(blank) + block[156:]


def damaged():
    data = bytearray(good)
    for _ in range(draw.randint(1, 4)): data[draw.randrange(len(data))] = draw.choice([0, 0x80, 0xff, draw.randrange(256)])
    if draw.random() < 0.1: del data[draw.randrange(len(data)):]
    if draw.random() < 0.7:
        for at in range(0, len(data) - 511, 512):
            if data[at + 257:at + 262] == b"ustar": data[at:at + 512] = sealed(bytes(data[at:at + 512]))
    return bytes(data)


def surroundings():
    return sorted(os.listdir(".")), os.listdir("beside"), open("beside/secret").read(), os.stat("beside").st_mtime_ns


before, statuses, wrong = None, {}, []
for number in range(rounds):
    os.mkdir("layer")
    before = before or surroundings()
    limits = ["--max-entries", "100", "--max-bytes", "1000000"]
    end = subprocess.run([program, "layer", "--uid-base", "200000", *limits], input=damaged(), capture_output=True, timeout=20)
    statuses[end.returncode] = statuses.get(end.returncode, 0) + 1
    lines = end.stderr.count(b"\n")
    if end.returncode not in (0, 3) or lines != (end.returncode == 3) or b"signal" in end.stderr or surroundings() != before:
        wrong.append([number, end.returncode, end.stderr.decode("latin1")[:300]])
    subprocess.run(["rm", "-rf", "layer"], check=True)
print(json.dumps({"statuses": statuses, "wrong": wrong}))
