package seccomp

import (
	"encoding/binary"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Where struct seccomp_data has what is compared. All processors here have the
// lower half of an argument first.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// jump skips yes instructions if the comparison holds, and no if not.
func jump(op uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: yes, Jf: no}
}

func always(skip int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(skip)}
}

func ret(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

func refuse(errno unix.Errno) uint32 {
	return unix.SECCOMP_RET_ERRNO | uint32(errno)&unix.SECCOMP_RET_DATA
}

// tree finds the interval of the number that is loaded.
func tree(all []interval) []unix.SockFilter {
	if len(all) == 1 {
		return all[0].code
	}
	mid := len(all) / 2
	low, high := tree(all[:mid]), tree(all[mid:])
	var code []unix.SockFilter
	if len(low) <= 255 {
		code = append(code, jump(unix.BPF_JGE, all[mid].first, uint8(len(low)), 0))
	} else {
		code = append(code, jump(unix.BPF_JGE, all[mid].first, 0, 1), always(len(low)))
	}
	return append(append(code, low...), high...)
}

// decide is the code for one system call. The first rule whose conditions all
// hold decides.
func decide(rules []*specs.LinuxSyscall) []unix.SockFilter {
	var code []unix.SockFilter
	for _, r := range rules {
		action := refuse(unix.EPERM)
		switch {
		case r.Action == specs.ActAllow:
			action = unix.SECCOMP_RET_ALLOW
		case r.ErrnoRet != nil:
			action = refuse(unix.Errno(*r.ErrnoRet))
		}
		if len(r.Args) == 0 {
			return append(code, ret(action))
		}
		var body []unix.SockFilter
		for i := len(r.Args) - 1; i >= 0; i-- { // from behind: what follows is to be skipped
			body = append(condition(r.Args[i], len(body)+1), body...)
		}
		code = append(append(code, body...), ret(action))
	}
	return append(code, ret(refuse(unix.EPERM)))
}

// condition goes on if it holds and else skips what follows.
func condition(a specs.LinuxSeccompArg, follows int) []unix.SockFilter {
	low := uint32(offsetArgs + 8*a.Index)
	high := low + 4
	k := split(a.Value)
	out := uint8(follows)
	and := func(mask uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask}
	}
	switch a.Op {
	case specs.OpEqualTo:
		return []unix.SockFilter{load(high), jump(unix.BPF_JEQ, k.high, 0, out+2), load(low), jump(unix.BPF_JEQ, k.low, 0, out)}
	case specs.OpMaskedEqual:
		want := split(a.ValueTwo)
		return []unix.SockFilter{
			load(high), and(k.high), jump(unix.BPF_JEQ, want.high, 0, out+3),
			load(low), and(k.low), jump(unix.BPF_JEQ, want.low, 0, out),
		}
	case specs.OpGreaterThan:
		return []unix.SockFilter{
			load(high), jump(unix.BPF_JGT, k.high, 3, 0), jump(unix.BPF_JEQ, k.high, 0, out+2),
			load(low), jump(unix.BPF_JGT, k.low, 0, out),
		}
	case specs.OpLessThan:
		return []unix.SockFilter{
			load(high), jump(unix.BPF_JGT, k.high, out+3, 0), jump(unix.BPF_JEQ, k.high, 0, 2),
			load(low), jump(unix.BPF_JGE, k.low, out, 0),
		}
	default:
		// The profile has no other; one that came would never hold.
		return []unix.SockFilter{always(follows)}
	}
}

type halves struct{ high, low uint32 }

func split(v uint64) halves { return halves{uint32(v >> 32), uint32(v)} }

// Bytes is a program as the kernel reads it, struct sock_filter after another.
func Bytes(program []unix.SockFilter) []byte {
	b := make([]byte, 0, 8*len(program))
	for _, f := range program {
		b = binary.NativeEndian.AppendUint16(b, f.Code)
		b = append(b, f.Jt, f.Jf)
		b = binary.NativeEndian.AppendUint32(b, f.K)
	}
	return b
}
