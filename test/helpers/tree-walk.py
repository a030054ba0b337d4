# Walks the tree of argv[1] and writes one JSON object an entry, by name: all that a tar can say of a file. argv[2] is subtracted
# from owners, wherever they stand. Names that are not UTF-8 come as lone surrogates.

import hashlib, json, os, stat, struct, sys

TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
         stat.S_IFCHR: "character", stat.S_IFBLK: "block", stat.S_IFSOCK: "socket"}
root, shift = os.fsencode(sys.argv[1]), int(sys.argv[2])
first_names = {}


def acl(value):
    """Of `struct posix_acl_xattr_entry` (tag, permissions, id), those for a user (2) or a group (8) have an id."""
    entries = [list(entry) for entry in struct.iter_unpack("<HHI", value[4:])]
    return [[tag, perm, name - shift if tag in (2, 8) else None] for tag, perm, name in entries]


def capability(value):
    """Revision 3 says whose root the capabilities are for; for the root at the shift it is what revision 2 is without one."""
    magic, = struct.unpack("<I", value[:4])
    if magic >> 24 == 3 and struct.unpack("<I", value[20:24])[0] == shift:
        value = struct.pack("<I", 0x02000000 | magic & 0xffffff) + value[4:20]
    return value.hex()


def attribute(path, name):
    value = os.getxattr(path, name, follow_symlinks=False)
    if name.startswith("system.posix_acl_"): return acl(value)
    return capability(value) if name == "security.capability" else value.hex()


def content(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(path, name):
    status = os.lstat(path)
    kind = TYPES[stat.S_IFMT(status.st_mode)]
    entry = {"path": os.fsdecode(name), "type": kind, "mode": oct(stat.S_IMODE(status.st_mode)),
             "owner": f"{status.st_uid - shift}:{status.st_gid - shift}", "modified": str(status.st_mtime_ns),
             "xattrs": {name: attribute(path, name) for name in sorted(os.listxattr(path, follow_symlinks=False))}}
    if kind == "file": entry |= {"size": status.st_size, "sha256": content(path)}
    if kind == "symlink": entry["target"] = os.fsdecode(os.readlink(path))
    if kind != "directory": entry["sameAs"] = first_names.setdefault((status.st_dev, status.st_ino), os.fsdecode(name))
    print(json.dumps(entry))
    return kind


def walk(path, name):
    if describe(path, name) != "directory": return
    for child in sorted(os.listdir(path)):
        walk(os.path.join(path, child), os.path.join(name, child) if name != b"." else child)


walk(root, b".")
