// Package export writes readings into files that other programs read: CSV, Parquet,
// JSON lines, and the line protocol of InfluxDB.
//
// It promises that a file is a stream, whatever its length: no more than one row
// group of Parquet is held in memory. Numbers are as exact as the format allows; in
// CSV and JSON to the digit.
//
// It never asks for readings: it is handed them, row by row.
package export

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"gnomon/cloud/readings"
	"gnomon/schema/reading"
)

// Format is that of a file.
type Format string

// The formats.
const (
	CSV     Format = "csv"
	Parquet Format = "parquet"
	NDJSON  Format = "ndjson"
	Influx  Format = "influx" // good values alone: there is no way to say that one is missing
)

// ContentType is what HTTP calls it.
func (f Format) ContentType() string {
	switch f {
	case CSV:
		return "text/csv; charset=utf-8"
	case Parquet:
		return "application/vnd.apache.parquet"
	case NDJSON:
		return "application/x-ndjson"
	default:
		return "text/plain; charset=utf-8"
	}
}

// File is one that is being written.
type File interface {
	// Row writes the values of a row that are there or missing.
	Row(of readings.Policy, r *readings.Row) error
	// Close ends the file. Without it the file is not whole.
	Close() error
}

// New begins a file. Nothing is written before the first Row or Close.
func New(f Format, w io.Writer) (File, error) {
	switch f {
	case CSV:
		return &csvFile{w: csv.NewWriter(w)}, nil
	case Parquet:
		return newParquet(w), nil
	case NDJSON:
		return &jsonFile{w: bufio.NewWriterSize(w, 64<<10)}, nil
	case Influx:
		return &influxFile{w: bufio.NewWriterSize(w, 64<<10)}, nil
	}
	return nil, fmt.Errorf("format is %.40q; it must be csv, parquet, ndjson or influx", string(f))
}

// timeForm is that of times in text: UTC, with milliseconds.
const timeForm = "2006-01-02T15:04:05.000Z"

func text(ms int64) string { return time.UnixMilli(ms).UTC().Format(timeForm) }

// columns are those of CSV.
var columns = []string{"node", "policy", "meter", "item", "at", "value", "missing", "source", "version", "arrived", "stored"}

type csvFile struct {
	w     *csv.Writer
	begun bool
	cells [11]string
}

// begin writes the head, once.
func (f *csvFile) begin() error {
	if f.begun {
		return nil
	}
	f.begun = true
	return f.w.Write(columns)
}

// Row implements File.
func (f *csvFile) Row(of readings.Policy, r *readings.Row) error {
	if err := f.begin(); err != nil {
		return err
	}
	at := text(r.At)
	for i := range r.Values {
		v := &r.Values[i]
		if v.State == reading.Absent {
			continue
		}
		number := ""
		if v.State == reading.Good {
			number = v.Number.String()
		}
		f.cells = [...]string{of.Node, of.Name, r.Meter, r.Items[i], at, number, v.Reason, v.Source.String(), strconv.FormatUint(v.Version, 10), text(v.Arrived), text(v.Stored)}
		if err := f.w.Write(f.cells[:]); err != nil {
			return err
		}
	}
	return nil
}

// Close implements File.
func (f *csvFile) Close() error {
	if err := f.begin(); err != nil {
		return err
	}
	f.w.Flush()
	return f.w.Error()
}

// entry is a value as JSON.
type entry struct {
	Node    string          `json:"node"`
	Policy  string          `json:"policy"`
	Meter   string          `json:"meter"`
	Item    string          `json:"item"`
	At      string          `json:"at"`
	Value   *reading.Number `json:"value,omitempty"`
	Missing string          `json:"missing,omitempty"`
	Source  string          `json:"source"`
	Version uint64          `json:"version"`
	Arrived string          `json:"arrived"`
	Stored  string          `json:"stored"`
}

type jsonFile struct{ w *bufio.Writer }

// Row implements File.
func (f *jsonFile) Row(of readings.Policy, r *readings.Row) error {
	enc := json.NewEncoder(f.w)
	for i := range r.Values {
		v := &r.Values[i]
		if v.State == reading.Absent {
			continue
		}
		e := entry{of.Node, of.Name, r.Meter, r.Items[i], text(r.At), nil, v.Reason, v.Source.String(), v.Version, text(v.Arrived), text(v.Stored)}
		if v.State == reading.Good {
			e.Value = &v.Number
		}
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return nil
}

// Close implements File.
func (f *jsonFile) Close() error { return f.w.Flush() }

type influxFile struct {
	w    *bufio.Writer
	line []byte
}

// Row implements File.
func (f *influxFile) Row(of readings.Policy, r *readings.Row) error {
	f.line = appendLine(f.line[:0], of, r)
	_, err := f.w.Write(f.line)
	return err
}

// Close implements File.
func (f *influxFile) Close() error { return f.w.Flush() }

// escape keeps what names may have from ending a tag or a key of the line protocol.
var escape = strings.NewReplacer(",", `\,`, "=", `\=`, " ", `\ `)

// appendLine appends a line with the good values of a row; nothing if there is none.
// What stays as long as the meter does are tags, items are fields.
func appendLine(dst []byte, of readings.Policy, r *readings.Row) []byte {
	begun := len(dst)
	dst = append(dst, "reading,meter="...)
	dst = append(dst, escape.Replace(r.Meter)...)
	dst = append(dst, ",node="...)
	dst = append(dst, escape.Replace(of.Node)...)
	dst = append(dst, ",policy="...)
	dst = append(dst, escape.Replace(of.Name)...)
	fields := 0
	for i := range r.Values {
		v := &r.Values[i]
		if v.State != reading.Good {
			continue
		}
		if fields++; fields == 1 {
			dst = append(dst, ' ')
		} else {
			dst = append(dst, ',')
		}
		dst = append(dst, escape.Replace(r.Items[i])...)
		dst = append(dst, '=')
		dst = v.Number.Append(dst)
	}
	if fields == 0 {
		return dst[:begun]
	}
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, r.At*int64(time.Millisecond), 10)
	return append(dst, '\n')
}
