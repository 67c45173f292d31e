package export

import (
	"io"
	"math"
	"time"

	"github.com/parquet-go/parquet-go"

	"gnomon/cloud/readings"
	"gnomon/schema/reading"
)

// value is a row of a Parquet file.
type value struct {
	Node     string    `parquet:"node,dict"`
	Policy   string    `parquet:"policy,dict"`
	Meter    string    `parquet:"meter,dict"`
	Item     string    `parquet:"item,dict"`
	At       time.Time `parquet:"at,timestamp(millisecond),delta"`
	Value    *float64  `parquet:"value,optional"`    // the nearest there is
	Mantissa *int64    `parquet:"mantissa,optional"` // of the exact number: mantissa times 10 to the exponent
	Exponent *int32    `parquet:"exponent,optional"`
	Missing  string    `parquet:"missing,optional,dict"`
	Source   string    `parquet:"source,dict"`
	Version  int64     `parquet:"version"`
	Arrived  time.Time `parquet:"arrived,timestamp(millisecond),delta"`
	Stored   time.Time `parquet:"stored,timestamp(millisecond),delta"`
}

// rowGroup is how many values are held, and then written: some 5 MiB, held several times over.
const rowGroup = 32 << 10

type parquetFile struct {
	w    *parquet.GenericWriter[value]
	page []value
	held int
}

func newParquet(w io.Writer) *parquetFile {
	return &parquetFile{w: parquet.NewGenericWriter[value](w, parquet.Compression(&parquet.Zstd), parquet.PageBufferSize(256<<10))}
}

// Row implements File.
func (f *parquetFile) Row(of readings.Policy, r *readings.Row) error {
	f.page = f.page[:0]
	for i := range r.Values {
		v := &r.Values[i]
		if v.State == reading.Absent {
			continue
		}
		out := value{
			Node: of.Node, Policy: of.Name, Meter: r.Meter, Item: r.Items[i], At: time.UnixMilli(r.At).UTC(), Missing: v.Reason,
			Source: v.Source.String(), Version: int64(min(v.Version, math.MaxInt64)), //nolint:gosec // bounded just here
			Arrived: time.UnixMilli(v.Arrived).UTC(), Stored: time.UnixMilli(v.Stored).UTC(),
		}
		if v.State == reading.Good {
			number, exponent := v.Number.Float64(), int32(v.Number.Exponent)
			out.Value, out.Mantissa, out.Exponent = &number, &v.Number.Mantissa, &exponent
		}
		f.page = append(f.page, out)
	}
	if _, err := f.w.Write(f.page); err != nil {
		return err
	}
	if f.held += len(f.page); f.held < rowGroup {
		return nil
	}
	f.held = 0
	return f.w.Flush()
}

// Close implements File.
func (f *parquetFile) Close() error { return f.w.Close() }
