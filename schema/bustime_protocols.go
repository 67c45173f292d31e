package schema

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
)

// loadModbus counts requests as they are grouped: runs of registers or bits, with
// holes of up to maxHole, that no forbidden register lies in.
func (s *Source) loadModbus(items []Item, forbidden Ranges) (l load) {
	const (
		request, answer         = 8, 5 // bytes of an RTU frame besides data
		maxRegisters, maxBits   = 125, 2000
		registerBytes, bitsByte = 2, 8
	)
	sorted := WithFactors(items)
	slices.SortFunc(sorted, func(a, b Item) int {
		return cmp.Or(cmp.Compare(a.Block, b.Block), cmp.Compare(a.Function, b.Function), cmp.Compare(a.Address, b.Address), cmp.Compare(a.places(), b.places()))
	})
	for i := 0; i < len(sorted); {
		first, function, block := sorted[i].Address, sorted[i].Function, sorted[i].Block
		end := first + sorted[i].places()
		most := maxRegisters
		if function <= 2 {
			most = maxBits
		}
		for i++; i < len(sorted) && sorted[i].Function == function && sorted[i].Block == block; i++ {
			last := max(end, sorted[i].Address+sorted[i].places())
			if sorted[i].Address-end > *s.MaxHole || last-first > most || block == 0 && forbidden.Touch(function, end, sorted[i].Address) {
				break
			}
			end = last
		}
		data := (end - first) * registerBytes
		if function <= 2 {
			data = (end - first + bitsByte - 1) / bitsByte
		}
		l.add(load{requests: 1, down: request, up: answer + data})
	}
	return l
}

// loadSNMP counts requests for as many values as go into one.
func (s *Source) loadSNMP(items []Item) load {
	seen := make(map[string]bool)
	for _, it := range items {
		seen[it.OID] = true
	}
	return load{requests: (len(seen) + s.MaxOIDs - 1) / max(s.MaxOIDs, 1)}
}

// places are how many registers or bits an item takes.
func (it *Item) places() int {
	if it.Function <= 2 {
		return 1
	}
	return Registers(it.Type)
}

// load645 counts identifiers, and blocks in place of two and more that are in one.
func (s *Source) load645(items []Item) load {
	preamble := 0
	if s.Preamble != nil {
		preamble = *s.Preamble
	}
	var l load
	for _, bytes := range identifiers645(items) {
		l.add(load{requests: 1, frames: 1, down: preamble + frame645, up: frame645 + bytes})
	}
	return l
}

// frame645 is a frame with an identifier: 68 address(6) 68 control length DI(4) checksum 16.
const frame645 = 16

// identifiers645 returns the identifiers that items are asked for with, and the
// bytes of their data.
func identifiers645(items []Item) map[uint32]int {
	members := make(map[uint32]map[uint32]bool)
	for _, it := range items {
		di := hex32(it.DI)
		if block, _, ok := block645(di); ok {
			if members[block] == nil {
				members[block] = make(map[uint32]bool)
			}
			members[block][di] = true
		}
	}
	sizes := make(map[uint32]int)
	for _, it := range items {
		di := hex32(it.DI)
		digits, _, _ := FormatDigits(it.Format)
		size := it.Offset + digits/2
		if di>>24 == 0x01 { // a demand has the time it occurred behind it
			size = max(size, 3+5)
		}
		end := size
		if block, index, ok := block645(di); ok && len(members[block]) > 1 {
			di, end = block, (index+1)*size
		}
		sizes[di] = max(sizes[di], end)
	}
	return sizes
}

// block645 returns the block that an identifier's data is also in, and as the
// how-manieth: tariffs of energies and demands, phases of instantaneous values.
func block645(di uint32) (block uint32, index int, ok bool) {
	kind, member := di>>16&0xff, int(di>>8&0xff)
	first, last := 0, 63
	switch di >> 24 {
	case 0x00, 0x01:
		if kind > 0x0a {
			return 0, 0, false
		}
	case 0x02:
		if kind < 1 || kind > 7 || di&0xff != 0 {
			return 0, 0, false
		}
		if first, last = 1, 3; kind >= 3 && kind <= 6 {
			first = 0
		}
	default:
		return 0, 0, false
	}
	if member < first || member > last {
		return 0, 0, false
	}
	return di | 0xff00, member - first, true
}

// What a DL/T 698.45 request and its answer have besides what is asked for.
const (
	frame698   = 1 + 2 + 1 + 1 + 1 + 2 + 2 + 1 // 68 length control flag client HCS FCS 16; the address is extra
	service698 = 3 + 1                         // service, kind, number; time tag
	answer698  = 3 + 2                         // and what follows
)

// load698 counts requests: a list of attributes, a record's columns, as many as
// go into a frame.
func (s *Source) load698(items []Item, address int) (l load) {
	type record struct {
		of  uint32
		nth int
	}
	wanted := make(map[record]map[uint32]bool)
	for _, it := range items {
		r := record{hex32(it.Record), it.Nth}
		if it.Record == "" {
			r = record{}
		}
		if wanted[r] == nil {
			wanted[r] = make(map[uint32]bool)
		}
		wanted[r][hex32(it.OAD)] = true
	}
	preamble := 0
	if s.Preamble != nil {
		preamble = *s.Preamble
	}
	for r, oads := range wanted {
		for _, part := range parts698(slices.Sorted(maps.Keys(oads)), s.MaxFrame) {
			n := len(part)
			down, up := service698+4, answer698+4+1
			switch {
			case r.of != 0:
				down, up = service698+4+2+1+5*n, answer698+4+1+5*n+1+1
			case n > 1:
				down, up = service698+1+4*n, answer698+1+5*n
			}
			for _, oad := range part {
				up += size698(oad)
			}
			l.add(load{requests: 1, frames: 1, down: preamble + frame698 + address + down, up: frame698 + address + up})
		}
	}
	return l
}

// parts698 are the attributes that go into a request each, by the room that
// their values are given in the answer.
func parts698(oads []uint32, maxFrame int) (parts [][]uint32) {
	const overhead, element, whole, most = 1 + 2 + 1 + 1 + 16 + 1 + 2 + 3 + 10 + 2 + 2 + 1, 15, 33, 127
	room := overhead
	for _, oad := range oads {
		size := element
		if oad&0xff == 0 {
			size = whole
		}
		if n := len(parts); n == 0 || room+size > maxFrame || len(parts[n-1]) == most {
			parts, room = append(parts, nil), overhead
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], oad)
		room += size
	}
	return parts
}

// size698 is how many bytes an attribute's value has, with its type.
func size698(oad uint32) int {
	switch oad >> 16 {
	case 0x2000, 0x200a, 0x200f: // voltage, power factor, frequency
		return 3
	case 0x2021, 0x4000: // times
		return 8
	}
	return 5
}

// address376 is how many bytes a meter's address has behind a CCO.
const address376 = 6

// loadQ376 is what a meter is asked through a CCO.
func (s *Source) loadQ376(items []Item, protocol Protocol) load {
	if protocol == DLT698 {
		return s.carry(s.load698(items, address376), protocol)
	}
	return s.carry(s.load645(items), protocol)
}

// carry puts what a meter is asked into frames of the CCO.
func (s *Source) carry(l load, protocol Protocol) load {
	const down, up = 15 + 12 + 4, 15 + 12 + 3 // of F1H-F1 besides the meter's frames
	if protocol != DLT698 {
		l.requests = (l.frames + s.FramesPerRead - 1) / s.FramesPerRead
	}
	l.down += l.requests * down
	l.up += l.requests * up
	return l
}

func hex32(s string) uint32 {
	n, _ := strconv.ParseUint(s, 16, 32) // checked before
	return uint32(n)
}
