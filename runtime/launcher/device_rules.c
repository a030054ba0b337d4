// Writes the BPF program for a policy's devices: one comparison after the other (Linux, kernel/bpf/cgroup.c,
// BPF_PROG_TYPE_CGROUP_DEVICE; include/uapi/linux/bpf.h, struct bpf_cgroup_dev_ctx).

#include "device_rules.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_INSTRUCTIONS = 10 + MAX_DEVICES * 4 };

// Between the refusal of nodes and the answer "no".
static unsigned policy_instructions(const struct policy *policy) {
    unsigned count = 1;
    for (unsigned i = 0; i < policy->device_count; i++) count += policy->devices[i].minor < 0 ? 3 : 4;
    return count;
}

// r2 = type and access, r4 = major, r5 = minor; r0 is the answer: 1 allows.
static size_t write_program(const struct policy *policy, struct bpf_insn *program) {
#define LOAD(register_, field)                                                                                          \
    (struct bpf_insn) { .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = register_, .src_reg = 1,                          \
                        .off = offsetof(struct bpf_cgroup_dev_ctx, field) }
#define JUMP_UNLESS(register_, value, over)                                                                             \
    (struct bpf_insn) { .code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = register_, .off = over, .imm = value }
#define OPERATE(operation, register_, value)                                                                            \
    (struct bpf_insn) { .code = BPF_ALU64 | operation | BPF_K, .dst_reg = register_, .imm = value }
#define ANSWER (struct bpf_insn){.code = BPF_JMP | BPF_EXIT}
    size_t n = 0;
    program[n++] = LOAD(2, access_type); // The type in the low half, the access in the high (struct bpf_cgroup_dev_ctx).
    program[n++] = LOAD(4, major);
    program[n++] = LOAD(5, minor);
    program[n++] = OPERATE(BPF_MOV, 0, 1);
    // Whoever makes nodes is refused, whatever the node: bit 16 of the access type is BPF_DEVCG_ACC_MKNOD.
    program[n++] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 3, .src_reg = 2};
    program[n++] = OPERATE(BPF_AND, 3, BPF_DEVCG_ACC_MKNOD << 16);
    program[n++] = JUMP_UNLESS(3, 0, (int)policy_instructions(policy));
    program[n++] = OPERATE(BPF_AND, 2, 0xffff);
    for (unsigned i = 0; i < policy->device_count; i++) {
        int64_t minor = policy->devices[i].minor;
        program[n++] = JUMP_UNLESS(2, BPF_DEVCG_DEV_CHAR, minor < 0 ? 2 : 3);
        program[n++] = JUMP_UNLESS(4, (int)policy->devices[i].major, minor < 0 ? 1 : 2);
        if (minor >= 0) program[n++] = JUMP_UNLESS(5, (int)minor, 1);
        program[n++] = ANSWER;
    }
    program[n++] = OPERATE(BPF_MOV, 0, 0);
    program[n++] = ANSWER;
    return n;
}

int load_device_program(const struct policy *policy) {
    struct bpf_insn program[MAX_INSTRUCTIONS];
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insns = (uint64_t)(uintptr_t)program,
                           .insn_cnt = (uint32_t)write_program(policy, program), .license = (uint64_t)(uintptr_t) "GPL"};
    return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
}

int rule_devices_v2(int cgroup_fd, const struct policy *policy) {
    int program_fd = load_device_program(policy);
    if (program_fd < 0) return -1;
    union bpf_attr attach = {.target_fd = (uint32_t)cgroup_fd, .attach_bpf_fd = (uint32_t)program_fd,
                             .attach_type = BPF_CGROUP_DEVICE}; // In place of an earlier life's.
    int result = (int)syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach);
    int error = errno;
    close(program_fd);
    errno = error;
    return result;
}
