package seccomp

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// platform is a kind of system call that a kernel offers.
type platform struct {
	audit   uint32 // how the kernel calls it in seccomp_data
	arch    string // how the profile calls it
	numbers string
}

// platforms are those of a processor, the native one first.
var platforms = map[string][]platform{
	"amd64": {{unix.AUDIT_ARCH_X86_64, "amd64", numbersOfAMD64}, {unix.AUDIT_ARCH_I386, "x86", numbersOf386}},
	"386":   {{unix.AUDIT_ARCH_I386, "x86", numbersOf386}},
	"arm64": {{unix.AUDIT_ARCH_AARCH64, "arm64", numbersOfARM64}, {unix.AUDIT_ARCH_ARM, "arm", numbersOfARM}},
	"arm":   {{unix.AUDIT_ARCH_ARM, "arm", numbersOfARM}},
}

// ErrProcessor: there is no table for this processor.
var ErrProcessor = errors.New("no filter of system calls for this processor")

// Filter returns the program for a process with the capabilities, which are
// written CAP_SYS_ADMIN, on this processor and a kernel of this release.
func Filter(capabilities []string, release string) ([]unix.SockFilter, error) {
	return filter(runtime.GOARCH, capabilities, release)
}

func filter(processor string, capabilities []string, release string) ([]unix.SockFilter, error) {
	all, ok := platforms[processor]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrProcessor, processor)
	}
	profile := seccomp.DefaultProfile()
	program := []unix.SockFilter{load(offsetArch)}
	for _, p := range all {
		numbers, highest := table(p.numbers)
		rules := map[uint32][]*specs.LinuxSyscall{}
		for _, s := range profile.Syscalls {
			if !applies(s, all[0].arch, capabilities, release) {
				continue
			}
			for _, name := range s.Names {
				if n, known := numbers[name]; known {
					rules[n] = append(rules[n], &s.LinuxSyscall)
				}
			}
		}
		block := append([]unix.SockFilter{load(offsetNumber)}, tree(intervals(rules, highest))...)
		// The jump of a comparison is too short for a whole block.
		program = append(program, jump(unix.BPF_JEQ, p.audit, 1, 0), always(len(block)))
		program = append(program, block...)
	}
	program = append(program, ret(refuse(unix.EPERM)))
	if len(program) > unix.BPF_MAXINSNS {
		return nil, fmt.Errorf("filter of system calls has %d instructions, limit %d", len(program), unix.BPF_MAXINSNS)
	}
	return program, nil
}

// table reads the numbers of a platform, and the highest of the usual ones.
func table(text string) (numbers map[string]uint32, highest uint32) {
	const usual = 0x1000 // beyond are the processor's own
	numbers = make(map[string]uint32, 512)
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		name, number, _ := strings.Cut(line, " ")
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			panic("seccomp: " + line) // the table is part of the program
		}
		if numbers[name] = uint32(n); n < usual {
			highest = max(highest, uint32(n))
		}
	}
	return numbers, highest
}

// applies tells whether a rule of the profile holds here.
func applies(s *seccomp.Syscall, arch string, capabilities []string, release string) bool {
	has := func(c string) bool { return slices.Contains(capabilities, c) }
	if f := s.Excludes; f != nil {
		if slices.Contains(f.Arches, arch) || slices.ContainsFunc(f.Caps, has) || f.MinKernel != nil && atLeast(release, *f.MinKernel) {
			return false
		}
	}
	if f := s.Includes; f != nil {
		lacks := func(c string) bool { return !has(c) }
		if len(f.Arches) > 0 && !slices.Contains(f.Arches, arch) || slices.ContainsFunc(f.Caps, lacks) || f.MinKernel != nil && !atLeast(release, *f.MinKernel) {
			return false
		}
	}
	return true
}

// atLeast compares a release such as 6.1.0-13-amd64 with a version.
func atLeast(release string, v seccomp.KernelVersion) bool {
	var kernel, major uint64
	if _, err := fmt.Sscanf(release, "%d.%d", &kernel, &major); err != nil {
		return false
	}
	return cmp.Or(cmp.Compare(kernel, v.Kernel), cmp.Compare(major, v.Major)) >= 0
}

// interval is a run of numbers, from first to before the next interval's, that
// come to the same.
type interval struct {
	first uint32
	code  []unix.SockFilter
}

// intervals covers all numbers.
func intervals(rules map[uint32][]*specs.LinuxSyscall, highest uint32) []interval {
	unknown := []unix.SockFilter{ret(refuse(unix.ENOSYS))}
	var all []interval
	add := func(first uint32, code []unix.SockFilter) {
		if n := len(all); n > 0 && slices.Equal(all[n-1].code, code) {
			return
		}
		all = append(all, interval{first, code})
	}
	gap := func(first uint32) []unix.SockFilter {
		if first > highest {
			return unknown
		}
		return []unix.SockFilter{ret(refuse(unix.EPERM))}
	}
	next := uint32(0)
	for _, n := range slices.Sorted(maps.Keys(rules)) {
		if n > next {
			add(next, gap(next))
			if next <= highest && n > highest+1 {
				add(highest+1, unknown)
			}
		}
		add(n, decide(rules[n]))
		next = n + 1
	}
	if next <= highest {
		add(next, gap(next))
	}
	add(max(next, highest+1), unknown)
	return all
}
