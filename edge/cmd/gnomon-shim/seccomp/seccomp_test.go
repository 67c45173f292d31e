package seccomp

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// run does what the kernel does with a filter.
func run(t interface{ Fatalf(string, ...any) }, program []unix.SockFilter, number, arch uint32, args [6]uint64) uint32 {
	data := binary.LittleEndian.AppendUint32(nil, number)
	data = binary.LittleEndian.AppendUint32(data, arch)
	data = append(data, make([]byte, 8)...)
	for _, a := range args {
		data = binary.LittleEndian.AppendUint64(data, a)
	}
	var acc uint32
	for pc := 0; pc < len(program); pc++ {
		f := program[pc]
		holds := false
		switch f.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = binary.LittleEndian.Uint32(data[f.K:])
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= f.K
			continue
		case unix.BPF_JMP | unix.BPF_JA | unix.BPF_K:
			pc += int(f.K)
			continue
		case unix.BPF_RET | unix.BPF_K:
			return f.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			holds = acc == f.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			holds = acc > f.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			holds = acc >= f.K
		default:
			t.Fatalf("instruction %d: code %#x", pc, f.Code)
		}
		if pc += int(f.Jf); holds {
			pc += int(f.Jt) - int(f.Jf)
		}
	}
	t.Fatalf("the program has no end")
	return 0
}

var profile = seccomp.DefaultProfile()

// says is what the profile says, read without any assembler.
func says(name string, arch string, caps []string, release string, args [6]uint64) uint32 {
	for _, s := range profile.Syscalls {
		if !slices.Contains(s.Names, name) || !applies(s, arch, caps, release) {
			continue
		}
		holds := true
		for _, a := range s.Args {
			v := args[a.Index]
			switch a.Op {
			case specs.OpEqualTo:
				holds = holds && v == a.Value
			case specs.OpMaskedEqual:
				holds = holds && v&a.Value == a.ValueTwo
			case specs.OpGreaterThan:
				holds = holds && v > a.Value
			case specs.OpLessThan:
				holds = holds && v < a.Value
			default:
				panic(fmt.Sprint("condition ", a.Op, " is not known here"))
			}
		}
		switch {
		case !holds:
		case s.Action == specs.ActAllow:
			return unix.SECCOMP_RET_ALLOW
		case s.ErrnoRet != nil:
			return refuse(unix.Errno(*s.ErrnoRet))
		default:
			return refuse(unix.EPERM)
		}
	}
	return refuse(unix.EPERM)
}

// Whatever is called, the program says what the profile says.
func TestFilter_IsTheProfile(t *testing.T) {
	interesting := []uint64{0, 1, 0x0008, 0x20000, 0x20008, 0xffffffff, 1 << 32, 0xffffffffffffffff, unix.AF_ALG, unix.AF_ALG + 1,
		unix.AF_VSOCK, unix.AF_VSOCK + 1, unix.CLONE_NEWUSER, unix.CLONE_NEWNS | 17, unix.CLONE_VM | 17, unix.CLONE_NEWNS << 32}
	for _, processor := range slices.Sorted(maps.Keys(platforms)) {
		names := map[string][]string{}
		for _, p := range platforms[processor] {
			numbers, _ := table(p.numbers)
			names[p.arch] = slices.Sorted(maps.Keys(numbers))
		}
		rapid.Check(t, func(r *rapid.T) {
			caps := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_BPF"}), rapid.ID[string]).Draw(r, "caps")
			release := rapid.SampledFrom([]string{"4.4.0", "5.10.0-30-arm64", "6.1.0"}).Draw(r, "release")
			program, err := filter(processor, caps, release)
			if err != nil {
				r.Fatal(err)
			}
			p := rapid.SampledFrom(platforms[processor]).Draw(r, "platform")
			numbers, highest := table(p.numbers)
			for range 50 {
				name := rapid.SampledFrom(names[p.arch]).Draw(r, "name")
				var args [6]uint64
				for i := range args {
					args[i] = rapid.OneOf(rapid.SampledFrom(interesting), rapid.Uint64()).Draw(r, "arg")
				}
				want := says(name, platforms[processor][0].arch, caps, release, args)
				if got := run(r, program, numbers[name], p.audit, args); got != want {
					r.Fatalf("%s(%#x) on %s: %#x, the profile says %#x", name, args, p.arch, got, want)
				}
			}
			for _, unknown := range []uint32{highest + 1, highest + 100, 0x40000000, 0xffffffff} {
				if got := run(r, program, unknown, p.audit, [6]uint64{}); got != refuse(unix.ENOSYS) {
					r.Fatalf("number %d: %#x", unknown, got)
				}
			}
			if got := run(r, program, 0, unix.AUDIT_ARCH_S390X, [6]uint64{}); got != refuse(unix.EPERM) {
				r.Fatalf("another processor's: %#x", got)
			}
		})
	}
}

func TestFilter_RefusesAndAllows(t *testing.T) {
	program, err := filter("amd64", nil, "6.1.0")
	if err != nil {
		t.Fatal(err)
	}
	for number, want := range map[uint32]uint32{
		0: unix.SECCOMP_RET_ALLOW, 59: unix.SECCOMP_RET_ALLOW, // read, execve
		165: refuse(unix.EPERM), 246: refuse(unix.EPERM), 250: refuse(unix.EPERM), 321: refuse(unix.EPERM), // mount, kexec_load, keyctl, bpf
		435: refuse(unix.ENOSYS), // clone3
	} {
		if got := run(t, program, number, unix.AUDIT_ARCH_X86_64, [6]uint64{}); got != want {
			t.Errorf("system call %d: %#x, want %#x", number, got, want)
		}
	}
	if _, err := filter("mips", nil, "6.1.0"); err == nil {
		t.Error("a processor without a table")
	}
	t.Logf("%d instructions", len(program))
}

func BenchmarkFilter(b *testing.B) {
	for b.Loop() {
		if _, err := Filter(nil, "6.1.0"); err != nil {
			b.Fatal(err)
		}
	}
}
