package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/big"
	"net/netip"

	"gnomon/edge/workload"
)

// Config is the bridge with what this package does about it.
type Config workload.Bridge

// MaxLeases bounds the containers on one bridge, whatever the pool's size.
const MaxLeases = 1022

// size is how many containers the pool has addresses for: without the net's own,
// the bridge's and the broadcast address.
func (c Config) size() int { return min(1<<(32-c.Pool.Bits())-3, MaxLeases) }

// gateway is the bridge's own address, the first of the pool.
func gateway(p netip.Prefix) netip.Prefix { return netip.PrefixFrom(nth(p, 1), p.Bits()) }

// nth is an address of a pool by its number.
func nth(p netip.Prefix, n int) netip.Addr {
	a := p.Masked().Addr()
	if a.Is4() {
		b := a.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
		return netip.AddrFrom4(b)
	}
	b := a.As16()
	sum := new(big.Int).Add(new(big.Int).SetBytes(b[:]), big.NewInt(int64(n)))
	sum.FillBytes(b[:])
	return netip.AddrFrom16(b)
}

// ErrExhausted: every address of the pool is in use.
var ErrExhausted = errors.New("the pool of container addresses is exhausted")

// choose returns the number of a free address. A name asks for the same one again
// and again, so that a restarted container mostly keeps its address.
func (c Config) choose(name string, taken map[int]bool) (int, error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	size := c.size()
	first := int(h.Sum32() % uint32(size))
	for i := range size {
		if n := 2 + (first+i)%size; !taken[n] {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: %s has %d", ErrExhausted, c.Pool, size)
}
