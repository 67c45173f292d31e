package reading

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// zigzag makes small numbers of both signs small.
func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// maxUnary is the longest quotient of a Rice code. What has a longer one is that
// many ones and then all its 64 bits.
const maxUnary = 20

// bitWriter appends bits, the highest first.
type bitWriter struct {
	out  []byte
	held uint64 // its lowest n bits are not yet in out
	n    uint
}

// put appends the lowest n ≤ 56 bits of v.
func (w *bitWriter) put(v uint64, n uint) {
	w.held, w.n = w.held<<n|v&(1<<n-1), w.n+n
	w.drain()
}

func (w *bitWriter) drain() {
	for ; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.held>>(w.n-8)))
	}
}

// rice appends u with k low bits, k ≤ 56.
func (w *bitWriter) rice(u uint64, k uint) {
	q := u >> k
	if q < maxUnary {
		w.put(1<<(q+1)-2, uint(q)+1)
		w.put(u, k)
		return
	}
	w.put(1<<maxUnary-1, maxUnary)
	w.put(u>>32, 32)
	w.put(u, 32)
}

// close fills the last byte with zeros.
func (w *bitWriter) close() []byte {
	if w.n > 0 {
		w.out = append(w.out, byte(w.held<<(8-w.n)))
		w.n = 0
	}
	return w.out
}

// bitReader reads what a bitWriter wrote. Once the input is too short it yields
// zeros, and short is set.
type bitReader struct {
	in    []byte
	held  uint64
	n     uint
	short bool
}

func (r *bitReader) get(n uint) uint64 {
	for r.n < n {
		if len(r.in) == 0 {
			r.short = true
			return 0
		}
		r.held, r.n, r.in = r.held<<8|uint64(r.in[0]), r.n+8, r.in[1:]
	}
	r.n -= n
	return r.held >> r.n & (1<<n - 1)
}

func (r *bitReader) rice(k uint) uint64 {
	q := uint64(0)
	for ; q < maxUnary && r.get(1) == 1; q++ {
	}
	if q == maxUnary {
		return r.get(32)<<32 | r.get(32)
	}
	return q<<k | r.get(k)
}

// close skips to the next byte and returns what follows. The bits skipped are zero.
func (r *bitReader) close() (rest []byte, ok bool) {
	rest, ok = r.in, !r.short && r.n < 8 && r.held&(1<<r.n-1) == 0
	return rest, ok
}

// maxLow is the most low bits of a Rice code.
const maxLow = 56

// lowBits chooses the number of low bits with which numbers take the least room,
// as far as their lengths tell.
func lowBits(all []uint64) uint {
	var lengths [65]int
	for _, u := range all {
		lengths[bits.Len64(u)]++
	}
	best, least := uint(0), math.MaxInt
	for k := uint(0); k <= maxLow; k++ {
		cost := len(all) * int(k+1)
		for length, n := range lengths[min(k+1, 64):] {
			// One of k+1+length bits has a quotient of 2^length to twice that.
			if quotient := 3 << min(length, 10) / 2; quotient < maxUnary {
				cost += n * quotient
			} else {
				cost += n * (maxUnary + 64)
			}
		}
		if cost < least {
			best, least = k, cost
		}
	}
	return best
}

// appendRice appends numbers; the reader knows how many.
func appendRice(dst []byte, all []uint64) []byte {
	if len(all) == 0 {
		return dst
	}
	k := lowBits(all)
	w := bitWriter{out: append(dst, byte(k))}
	for _, u := range all {
		w.rice(u, k)
	}
	return w.close()
}

// appendSymbols appends numbers below n, each in as few bits as n-1 needs.
func appendSymbols(dst []byte, all []int, n int) []byte {
	w := bitWriter{out: dst}
	for _, s := range all {
		w.put(uint64(s), symbolBits(n))
	}
	return w.close()
}

func symbolBits(n int) uint { return uint(bits.Len(uint(n - 1))) }

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
