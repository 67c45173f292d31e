package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	independent "github.com/fraugster/parquet-go"
	parquetformat "github.com/fraugster/parquet-go/parquet"
	"github.com/klauspost/compress/zstd"

	"gnomon/cloud/readings"
	"gnomon/schema/reading"
)

var of = readings.Policy{Node: "n1", Name: "curve"}

const begin = 1774742400000 // 2026-03-29T00:00:00Z

// slot is a row with a good value, a missing and an absent one.
func slot(i int) *readings.Row {
	at := int64(begin + i*900_000)
	told := readings.Value{Source: reading.Cycle, Version: 7, Arrived: at + 1500, Stored: at + 2500}
	good, missing := told, told
	good.Value = reading.Value{State: reading.Good, Number: reading.Number{Mantissa: int64(123456789012345671 + 10*i), Exponent: -3}}
	missing.Value = reading.Value{State: reading.Missing, Reason: "timeout"}
	return &readings.Row{Meter: "m,1", At: at, Items: []string{"E", "V", "X"}, Values: []readings.Value{good, missing, {}}}
}

func write(t testing.TB, f Format, rows int) []byte {
	t.Helper()
	var out bytes.Buffer
	file, err := New(f, &out)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		if err := file.Row(of, slot(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestCSV(t *testing.T) {
	all, err := csv.NewReader(bytes.NewReader(write(t, CSV, 2))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"node", "policy", "meter", "item", "at", "value", "missing", "source", "version", "arrived", "stored"},
		{"n1", "curve", "m,1", "E", "2026-03-29T00:00:00.000Z", "123456789012345.671", "", "cycle", "7", "2026-03-29T00:00:01.500Z", "2026-03-29T00:00:02.500Z"},
		{"n1", "curve", "m,1", "V", "2026-03-29T00:00:00.000Z", "", "timeout", "cycle", "7", "2026-03-29T00:00:01.500Z", "2026-03-29T00:00:02.500Z"},
	}
	if len(all) != 5 || fmt.Sprint(all[:3]) != fmt.Sprint(want) {
		t.Errorf("%q", all)
	}
	if none := write(t, CSV, 0); !strings.HasPrefix(string(none), "node,policy") {
		t.Errorf("of nothing: %q", none)
	}
}

func TestNDJSON(t *testing.T) {
	dec := json.NewDecoder(bytes.NewReader(write(t, NDJSON, 2)))
	n := 0
	for ; ; n++ {
		var line struct {
			Item, Missing, At string
			Value             json.Number
		}
		if err := dec.Decode(&line); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if n == 0 && (line.Value != "123456789012345.671" || line.Item != "E") || n == 1 && (line.Missing != "timeout" || line.Value != "") {
			t.Errorf("line %d: %+v", n, line)
		}
	}
	if n != 4 {
		t.Errorf("%d lines, want 4", n)
	}
}

func TestInflux(t *testing.T) {
	want := "reading,meter=m\\,1,node=n1,policy=curve E=123456789012345.671 1774742400000000000\n"
	if got := string(write(t, Influx, 1)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	none := slot(1)
	none.Values[0].Value = reading.Value{State: reading.Missing, Reason: "x"}
	if got := appendLine([]byte("before"), of, none); string(got) != "before" {
		t.Errorf("a row without a good value is %q", got)
	}
}

func TestNew_Unknown(t *testing.T) {
	if _, err := New("xlsx", io.Discard); err == nil {
		t.Error("xlsx is a format")
	}
}

// unzstd lets the other library read zstd, which it leaves to its users.
type unzstd struct{}

func (unzstd) CompressBlock([]byte) ([]byte, error) { return nil, fmt.Errorf("not needed") }

func (unzstd) DecompressBlock(block []byte) ([]byte, error) {
	d, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.DecodeAll(block, nil)
}

// What is written another library reads, value by value, over several row groups.
func TestParquet(t *testing.T) {
	independent.RegisterBlockCompressor(parquetformat.CompressionCodec_ZSTD, unzstd{})
	const rows = rowGroup/2 + 100 // twice as many values: two row groups
	r, err := independent.NewFileReader(bytes.NewReader(write(t, Parquet, rows)))
	if err != nil {
		t.Fatal(err)
	}
	if r.RowGroupCount() < 2 || r.NumRows() != 2*rows {
		t.Errorf("%d row groups, %d rows; want 2 or more, and %d", r.RowGroupCount(), r.NumRows(), 2*rows)
	}
	for i := range 2 * rows {
		got, err := r.NextRow()
		if err != nil {
			t.Fatalf("row %d: %v", i, err)
		}
		at := int64(begin + i/2*900_000)
		want := map[string]any{
			"node": []byte("n1"), "policy": []byte("curve"), "meter": []byte("m,1"), "item": []byte("E"), "source": []byte("cycle"), "version": int64(7),
			"at": at, "arrived": at + 1500, "stored": at + 2500,
		}
		if i%2 == 0 {
			mantissa := int64(123456789012345671 + 10*(i/2))
			number := reading.Number{Mantissa: mantissa, Exponent: -3}
			want["mantissa"], want["exponent"], want["value"] = mantissa, int32(-3), number.Float64()
		} else {
			want["item"], want["missing"] = []byte("V"), []byte("timeout")
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("row %d is %v, want %v", i, got, want)
		}
	}
}

// However long a file is, no more than a row group is held.
func TestParquet_Bounded(t *testing.T) {
	file, err := New(Parquet, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	held := func() uint64 {
		runtime.GC()
		runtime.GC() // what lies in a pool outlives one
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const part = rowGroup
	var after [3]uint64
	for p := range after {
		for i := range part {
			if err := file.Row(of, slot(p*part+i)); err != nil {
				t.Fatal(err)
			}
		}
		after[p] = held()
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if after[2] > after[1]+1<<20 {
		t.Errorf("held after each part: %d", after)
	}
}

func BenchmarkParquet(b *testing.B) {
	file, err := New(Parquet, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	for i := range b.N {
		if err := file.Row(of, slot(i)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(2*float64(b.N)/time.Since(began).Seconds(), "values/s")
}
