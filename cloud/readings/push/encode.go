package push

import (
	"math"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"

	"gnomon/cloud/readings"
	"gnomon/schema/reading"
)

// Metric is the name that all readings have; node, policy, meter and item tell them
// apart.
const Metric = "gnomon_reading"

// The fields of the messages of remote write 1.0 that are written:
//
//	WriteRequest { repeated TimeSeries timeseries = 1 }
//	TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2 }
//	Label        { string name = 1; string value = 2 }
//	Sample       { double value = 1; int64 timestamp = 2 } in milliseconds
const (
	fieldSeries  = 1
	fieldLabels  = 1
	fieldSamples = 2
	fieldName    = 1
	fieldValue   = 2
	fieldNumber  = 1
	fieldTime    = 2
)

// series is one of a batch.
type series struct{ meter, item string }

// encode makes a request of batches: a series for each meter and item of each, its
// samples in order of time, as the rows are.
func encode(batch []readings.Told) []byte {
	var out, labels []byte
	for _, t := range batch {
		samples, order := map[series][]byte{}, []series{}
		for i := range t.Batch.Rows {
			r := &t.Batch.Rows[i]
			for k, v := range r.Values {
				if v.State != reading.Good {
					continue
				}
				of := series{r.Meter, t.Batch.Items[k]}
				if samples[of] == nil {
					order = append(order, of)
				}
				samples[of] = appendSample(samples[of], v.Number.Float64(), r.At.UnixMilli())
			}
		}
		for _, of := range order {
			labels = labels[:0] // in order of their names
			for _, l := range [...][2]string{{"__name__", Metric}, {"item", of.item}, {"meter", of.meter}, {"node", t.Node}, {"policy", t.Batch.Policy}} {
				labels = appendLabel(labels, l[0], l[1])
			}
			out = protowire.AppendTag(out, fieldSeries, protowire.BytesType)
			out = protowire.AppendVarint(out, uint64(len(labels)+len(samples[of])))
			out = append(append(out, labels...), samples[of]...)
		}
	}
	return snappy.Encode(nil, out)
}

func appendLabel(dst []byte, name, value string) []byte {
	size := protowire.SizeTag(fieldName) + protowire.SizeBytes(len(name)) + protowire.SizeTag(fieldValue) + protowire.SizeBytes(len(value))
	dst = protowire.AppendTag(dst, fieldLabels, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size)) //nolint:gosec // a length
	dst = protowire.AppendTag(dst, fieldName, protowire.BytesType)
	dst = protowire.AppendString(dst, name)
	dst = protowire.AppendTag(dst, fieldValue, protowire.BytesType)
	return protowire.AppendString(dst, value)
}

func appendSample(dst []byte, value float64, at int64) []byte {
	size := protowire.SizeTag(fieldNumber) + protowire.SizeFixed64() + protowire.SizeTag(fieldTime) + protowire.SizeVarint(uint64(at)) //nolint:gosec // two's complement, as protobuf has it
	dst = protowire.AppendTag(dst, fieldSamples, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size)) //nolint:gosec // a length
	dst = protowire.AppendTag(dst, fieldNumber, protowire.Fixed64Type)
	dst = protowire.AppendFixed64(dst, math.Float64bits(value))
	dst = protowire.AppendTag(dst, fieldTime, protowire.VarintType)
	return protowire.AppendVarint(dst, uint64(at)) //nolint:gosec // as above
}
