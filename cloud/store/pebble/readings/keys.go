package readings

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/cockroachdb/pebble/v2"

	"gnomon/cloud/readings"
)

// The keys of the database:
//
//	f                                    the format's number
//	r <node> NUL <policy> NUL <piece> <meter>   a block
//
// where piece is the number of readings.Piece since 1970, in four bytes, the highest
// first. Names hold no NUL.
const (
	formatKey = "f"
	rowPrefix = 'r'
	format    = 1
)

var pieceMillis = readings.Piece.Milliseconds()

func pieceOf(at int64) uint32 { return uint32(max(0, at/pieceMillis)) }

// policyKey is what the keys of a policy begin with.
func policyKey(dst []byte, p readings.Policy) []byte {
	dst = append(dst, rowPrefix)
	dst = append(dst, p.Node...)
	dst = append(dst, 0)
	dst = append(dst, p.Name...)
	return append(dst, 0)
}

func blockKey(dst []byte, p readings.Policy, piece uint32, meter string) []byte {
	return append(binary.BigEndian.AppendUint32(policyKey(dst, p), piece), meter...)
}

// parseKey takes the key of a block apart.
func parseKey(key []byte) (p readings.Policy, piece uint32, meter string, ok bool) {
	node, rest, one := bytes.Cut(key[1:], []byte{0})
	name, rest, two := bytes.Cut(rest, []byte{0})
	if !one || !two || len(rest) < 4 {
		return p, 0, "", false
	}
	return readings.Policy{Node: string(node), Name: string(name)}, binary.BigEndian.Uint32(rest), string(rest[4:]), true
}

// checkFormat writes the format into a new store and refuses a later version's.
func (s *Store) checkFormat() error {
	value, closer, err := s.db.Get([]byte(formatKey))
	if err == pebble.ErrNotFound { //nolint:errorlint // pebble returns the sentinel itself
		return s.db.Set([]byte(formatKey), strconv.AppendInt(nil, format, 10), pebble.Sync)
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	if n, err := strconv.Atoi(string(value)); err != nil || n != format {
		return fmt.Errorf("store of readings: format %q is not one that this gnomon reads (%d); run the version that wrote it, or a later one", value, format)
	}
	return nil
}
