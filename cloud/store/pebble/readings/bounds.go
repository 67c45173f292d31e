package readings

import "slices"

// bounds are what a block may have at most. Whatever is told, in whatever order and
// however it is put together, the same is left: the first of its items, by name, and
// as many of its rows, from the earliest on, as there is room for. Rows of format 1
// take none of the room, and stay: nobody can tell more of them.
type bounds struct {
	cells   int // rows times items, and rowCells for each row
	items   int
	reasons int  // beyond which they are manyReasons
	legacy  bool // the block may have rows that format 1 put there
}

// most is what no policy comes to, of what is told since format 2: one that reads 500 items every 100 ms has 2,940
// rows in a stretch, and all of its items may be others meanwhile. It is some 50 MiB.
var most = bounds{cells: 3 << 20, items: 4096, reasons: 4096}

// rowCells is what a row takes beside its cells, in cells.
const rowCells = 8

// manyReasons stands for reasons beyond what a block keeps.
const manyReasons = "other"

// rows is how many there may be of so many items. It is no more for more items:
// so what is left out of some blocks is left out of all together.
func (m bounds) rows(items int) int { return m.cells / (items + rowCells) }

// cutRows leaves those there is room for beside those of format 1.
func (m bounds) cutRows(b *block) {
	room, kept := m.rows(len(b.items)), b.rows[:0]
	if len(b.rows) <= room {
		return
	}
	for _, r := range b.rows {
		old := m.legacy && placeOf("", r.at).stretch > 0 // it would be elsewhere now
		if !old && room == 0 {
			b.cut = true
			continue
		}
		if !old {
			room--
		}
		kept = append(kept, r)
	}
	b.rows = kept
}

// clipReasons leaves the first reasons, and manyReasons beside them if there are
// more, or were.
func (m bounds) clipReasons(all []string) []string {
	if len(all) <= m.reasons {
		return all
	}
	others, were := slices.BinarySearch(all, manyReasons)
	known := slices.Clone(all)
	if were {
		known = slices.Delete(known, others, others+1)
	}
	if len(known) > m.reasons {
		known, were = known[:m.reasons], true
	}
	if were {
		at, _ := slices.BinarySearch(known, manyReasons)
		known = slices.Insert(known, at, manyReasons)
	}
	return known
}

// size is what the cells of a block take, in cells.
func (b *block) size() int { return len(b.rows) * (len(b.items) + rowCells) }
