package modbus

import (
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"gnomon/schema"
)

var wordTypes = []string{"bool", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"}

// drawItems makes items that crowd a part of the address space, so that they
// touch, overlap and leave holes.
func drawItems(t *rapid.T) []schema.Item {
	origin := rapid.SampledFrom([]int{0, 1000, 65000}).Draw(t, "origin")
	width := rapid.SampledFrom([]int{10, 100, 500, 5000}).Draw(t, "width")
	var items []schema.Item
	for i := range rapid.IntRange(0, 60).Draw(t, "items") {
		it := schema.Item{Name: strconv.Itoa(i), Function: rapid.IntRange(1, 4).Draw(t, "function"), Type: "bool", Order: "ABCD", Scale: 1}
		if it.Function > 2 {
			it.Type = rapid.SampledFrom(wordTypes).Draw(t, "type")
		}
		it.Address = min(origin+rapid.IntRange(0, width).Draw(t, "address"), 65536-size(it))
		items = append(items, it)
	}
	return items
}

func drawCuts(t *rapid.T, items []schema.Item) cuts {
	c := make(cuts)
	for _, it := range items {
		if rapid.IntRange(0, 5).Draw(t, "cut") == 0 {
			c[cut{byte(it.Function), it.Address + rapid.IntRange(-3, 3).Draw(t, "off")}] = true
		}
	}
	return c
}

func TestGroup_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := drawItems(t)
		hole := rapid.IntRange(0, schema.MaxRegistersHole).Draw(t, "hole")
		forbidden := drawCuts(t, items)
		given := slices.Clone(items)
		blocks := group(items, hole, forbidden)
		if !slices.Equal(items, given) {
			t.Fatal("the caller's items were moved")
		}
		seen := make(map[string]int)
		for _, b := range blocks {
			checkBlock(t, b, hole, forbidden)
			for _, it := range b.items {
				seen[it.Name]++
			}
		}
		for _, it := range items {
			if seen[it.Name] != 1 {
				t.Fatalf("item %s is in %d blocks", it.Name, seen[it.Name])
			}
		}
		checkFew(t, blocks, hole, forbidden)
		slices.Reverse(given)
		if again := group(given, hole, forbidden); !slices.EqualFunc(blocks, again, sameRequest) {
			t.Fatal("the requests depend on the order of the items")
		}
	})
}

func sameRequest(a, b block) bool {
	return a.function == b.function && a.address == b.address && a.quantity == b.quantity
}

// checkBlock looks at a block place by place.
func checkBlock(t *rapid.T, b block, hole int, forbidden cuts) {
	first, end := int(b.address), int(b.address)+int(b.quantity)
	most := 125
	if b.function <= 2 {
		most = 2000
	}
	if b.quantity < 1 || int(b.quantity) > most || end > 65536 {
		t.Fatalf("function %d: %d places from %d", b.function, b.quantity, b.address)
	}
	used, joined := make([]bool, b.quantity), make([]bool, b.quantity) // joined: to the place before, by an item
	for _, it := range b.items {
		if it.Function != int(b.function) || it.Address < first || it.Address+size(it) > end {
			t.Fatalf("item %+v is not within %d places from %d", it, b.quantity, b.address)
		}
		for i := range size(it) {
			used[it.Address-first+i] = true
			joined[it.Address-first+i] = joined[it.Address-first+i] || i > 0
		}
	}
	if !used[0] || !used[len(used)-1] {
		t.Fatal("places are read before the first item or after the last")
	}
	unused := 0
	for i := range used {
		unused++
		if used[i] {
			unused = 0
		}
		if unused > hole {
			t.Fatalf("%d unused places in a row", unused)
		}
		if i > 0 && !joined[i] && forbidden[cut{b.function, first + i}] {
			t.Fatalf("block %d+%d spans the cut at %d", b.address, b.quantity, first+i)
		}
	}
}

// checkFew fails if two blocks could have been one.
func checkFew(t *rapid.T, blocks []block, hole int, forbidden cuts) {
	for i := 1; i < len(blocks); i++ {
		a, b := blocks[i-1], blocks[i]
		if a.function != b.function {
			continue
		}
		first, last, next := int(a.address), int(a.address)+int(a.quantity), int(b.address)
		blocked := false
		for at := last; at <= next; at++ {
			blocked = blocked || forbidden[cut{a.function, at}]
		}
		whole := max(last, next+size(b.items[0])) - first
		if !blocked && next-last <= hole && whole <= limit(int(a.function)) {
			t.Fatalf("%d+%d and the first item of %d+%d fit into one block", a.address, a.quantity, b.address, b.quantity)
		}
	}
}

// Parts of a refused block hold its items, and each is smaller: splitting ends.
func TestParts_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hole := rapid.IntRange(0, schema.MaxRegistersHole).Draw(t, "hole")
		forbidden := make(cuts)
		for _, b := range group(drawItems(t), hole, forbidden) {
			parts := b.parts(forbidden, hole)
			if len(b.items) == 1 {
				if parts != nil {
					t.Fatal("a single item was split")
				}
				continue
			}
			n := 0
			for _, p := range parts {
				checkBlock(t, p, hole, nil)
				if len(p.items) >= len(b.items) {
					t.Fatalf("a block of %d items was split into one of %d", len(b.items), len(p.items))
				}
				n += len(p.items)
			}
			if n != len(b.items) {
				t.Fatalf("%d items of %d are left", n, len(b.items))
			}
		}
	})
}

func TestGroup_Table(t *testing.T) {
	run := func(function, address, n int) []schema.Item {
		var items []schema.Item
		for i := range n {
			it := schema.Item{Name: strconv.Itoa(address + i), Function: function, Address: address + i, Type: "uint16"}
			if function <= 2 {
				it.Type = "bool"
			}
			items = append(items, it)
		}
		return items
	}
	model, _ := schema.ModelNamed("sdm630")
	for _, c := range []struct {
		name  string
		items []schema.Item
		hole  int
		want  []uint16 // the blocks' quantities
	}{
		{"nothing", nil, 16, nil},
		{"as many registers as there may be", run(3, 0, 125), 0, []uint16{125}},
		{"one more", run(3, 0, 126), 0, []uint16{125, 1}},
		{"as many bits as there may be", run(1, 0, 2000), 0, []uint16{2000}},
		{"one bit more", run(2, 0, 2001), 0, []uint16{2000, 1}},
		{"the end of the address space", run(3, 65530, 6), 0, []uint16{6}},
		{"a hole of 16", registers(0, 17), 16, []uint16{18}},
		{"a hole of 17", registers(0, 18), 16, []uint16{1, 1}},
		{"sdm630", model.Items, 16, []uint16{76}},
		{"sdm630 without holes", model.Items, 0, []uint16{18, 6, 2, 6}},
	} {
		var got []uint16
		for _, b := range group(c.items, c.hole, nil) {
			got = append(got, b.quantity)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
