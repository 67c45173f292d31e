// Package seccomp makes the filter of system calls that containers run under: the
// default profile of Moby, which images have come to expect, assembled to the
// kernel's BPF for the processor at hand and for its 32-bit kind.
//
// What the profile does not name is refused with EPERM, what no table here knows
// with ENOSYS, so that programs fall back to what they used before. The package
// computes only: it installs nothing, and does without libseccomp.
package seccomp

//go:generate go run numbers_gen.go
