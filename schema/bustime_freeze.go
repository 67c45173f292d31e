package schema

import (
	"maps"
	"slices"
)

// Records of freezes: what meters are asked for, and what it takes on a line.
const (
	MinuteFreeze = "50020200" // the record of DL/T 698.45 that has what meters freeze between midnights
	DayFreeze    = "50040200"
	FreezeTime   = "20210200" // the column of a record that says when it is of

	recordHead645  = 8 + 6 + 2 // of a load record besides its classes: start, length, time; separators; checksum, end
	recordAsk645   = 6         // how many, and from when
	frozenTime645  = 5
	frozenValue645 = 5 * 4 // total and tariffs
	point698       = 1 + 4 + 1 + 7
	column698      = 5
	stamp698       = 8
)

// FreezeOf names the record of DL/T 698.45 that the policy's slots are in.
func (p *Policy) FreezeOf() string {
	if p.Daily() {
		return DayFreeze
	}
	return MinuteFreeze
}

// RecordClass is the class of load records of DL/T 645 to ask for some items: 0
// is all of them.
func RecordClass(items []Item) (class int) {
	for i := range items {
		of, _, _ := items[i].LoadRecord()
		if class != 0 && of != class {
			return 0
		}
		class = of
	}
	return class
}

// RecordBytes is how many bytes a load record has of a class, or of all.
func RecordBytes(class int) int {
	if class > 0 {
		return recordHead645 + RecordClasses[class]
	}
	n := recordHead645
	for _, bytes := range RecordClasses {
		n += bytes
	}
	return n
}

// loadFreeze645 counts what one slot takes of a meter: a load record, and daily
// freezes where the slots are midnights.
func (p *Policy) loadFreeze645(items []Item) (record, frozen load) {
	preamble := 0
	if p.Source.Preamble != nil {
		preamble = *p.Source.Preamble
	}
	var records []Item
	daily := make(map[uint32]bool)
	for _, it := range items {
		if di, _, ok := it.DailyFreeze(); ok && p.Daily() {
			daily[di] = true
		} else {
			records = append(records, it)
		}
	}
	if len(records) > 0 {
		record.add(load{requests: 1, frames: 1, down: preamble + frame645 + recordAsk645, up: frame645 + RecordBytes(RecordClass(records))})
	}
	if len(daily) > 0 { // and when it was
		frozen.add(load{requests: 1, frames: 1, down: preamble + frame645, up: frame645 + frozenTime645})
	}
	for range daily {
		frozen.add(load{requests: 1, frames: 1, down: preamble + frame645, up: frame645 + frozenValue645})
	}
	return record, frozen
}

// loadFreeze698 counts the records of one slot: the time and as many other
// columns as go into a frame.
func (p *Policy) loadFreeze698(items []Item, address int) (l load) {
	s := &p.Source
	oads := make(map[uint32]bool)
	for _, it := range items {
		oads[hex32(it.OAD)] = true
	}
	preamble := 0
	if s.Preamble != nil {
		preamble = *s.Preamble
	}
	for _, part := range FreezeColumns(slices.Sorted(maps.Keys(oads)), s.MaxFrame) {
		columns := column698 * (len(part) + 1)
		down, up := service698+4+point698+1+columns, answer698+4+1+columns+1+1+stamp698
		for _, oad := range part {
			up += size698(oad)
		}
		l.add(load{requests: 1, frames: 1, down: preamble + frame698 + address + down, up: frame698 + address + up})
	}
	return l
}

// Of an answer with a record of DL/T 698.45, what isn't values: that of frame and
// service, of the record's name and its time, which is a column too.
const (
	recordRoom698 = frame698 + 16 + answer698 + 4 + 1 + column698 + 1 + 1 + stamp698
	maxColumns698 = 126
)

// FreezeColumns are the columns that go into one request each.
func FreezeColumns(oads []uint32, maxFrame int) (parts [][]uint32) {
	room := 0
	for _, oad := range oads {
		size := column698 + frozen698(oad)
		if n := len(parts); n == 0 || room+size > maxFrame || len(parts[n-1]) == maxColumns698 {
			parts, room = append(parts, nil), recordRoom698
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], oad)
		room += size
	}
	return parts
}

// FreezeRows is how many records with some columns go into one answer.
func FreezeRows(oads []uint32, maxFrame int) int {
	head, row := recordRoom698-stamp698, stamp698
	for _, oad := range oads {
		head += column698
		row += frozen698(oad)
	}
	return max((maxFrame-head)/row, 1)
}

// frozen698 is the room a value is given: a whole attribute has tariffs.
func frozen698(oad uint32) int {
	if oad&0xff == 0 && oad>>16 < 0x2000 {
		return 2 + 5*5
	}
	return max(size698(oad), 5)
}
