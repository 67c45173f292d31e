package readings

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"gnomon/cloud/readings"
)

// The keys of the database:
//
//	f                                    the format's number
//	r <node> NUL <policy> NUL <piece> <meter>                  a block: rows of times that are whole grids
//	r <node> NUL <policy> NUL <piece> <meter> NUL <stretch>    a block: rows of other times
//
// where piece is the number of readings.Piece since 1970, in four bytes, the highest
// first, and stretch, from one on, that of the stretch of the piece. Names hold no
// NUL. So what a policy reads every few seconds or seldom lies together, and what one
// reads more often in blocks that are as small. In format 1 there were no stretches.
const (
	formatKey = "f"
	rowPrefix = 'r'
	format    = 2
)

const (
	grid    = 5 * time.Second
	stretch = 5 * time.Minute
)

var pieceMillis = readings.Piece.Milliseconds()

func pieceOf(at int64) uint32 { return uint32(max(0, at/pieceMillis)) }

// place is where a row is kept.
type place struct {
	piece   uint32
	meter   string
	stretch byte // 0: with those of whole grids
}

func placeOf(meter string, at int64) place {
	p := place{piece: pieceOf(at), meter: meter}
	if at > 0 && at%grid.Milliseconds() != 0 {
		p.stretch = byte(1 + at%pieceMillis/stretch.Milliseconds())
	}
	return p
}

// span is the time of a stretch's rows, in milliseconds since 1970.
func (p place) span() (from, to int64) {
	from = int64(p.piece)*pieceMillis + int64(p.stretch-1)*stretch.Milliseconds()
	return from, from + stretch.Milliseconds()
}

// policyKey is what the keys of a policy begin with.
func policyKey(dst []byte, p readings.Policy) []byte {
	dst = append(dst, rowPrefix)
	dst = append(dst, p.Node...)
	dst = append(dst, 0)
	dst = append(dst, p.Name...)
	return append(dst, 0)
}

// pieceKey is what the keys of a piece begin with.
func pieceKey(dst []byte, p readings.Policy, piece uint32) []byte {
	return binary.BigEndian.AppendUint32(policyKey(dst, p), piece)
}

func blockKey(dst []byte, p readings.Policy, at place) []byte {
	dst = append(pieceKey(dst, p, at.piece), at.meter...)
	if at.stretch > 0 {
		dst = append(dst, 0, at.stretch)
	}
	return dst
}

// parseKey takes the key of a block apart.
func parseKey(key []byte) (p readings.Policy, at place, ok bool) {
	node, rest, one := bytes.Cut(bytes.TrimPrefix(key, []byte{rowPrefix}), []byte{0})
	name, rest, two := bytes.Cut(rest, []byte{0})
	if !one || !two || len(rest) < 4 {
		return p, at, false
	}
	at.piece = binary.BigEndian.Uint32(rest)
	meter, finer, fine := bytes.Cut(rest[4:], []byte{0})
	if fine {
		if len(finer) != 1 || finer[0] == 0 {
			return p, at, false
		}
		at.stretch = finer[0]
	}
	at.meter = string(meter)
	return readings.Policy{Node: string(node), Name: string(name)}, at, true
}

// checkFormat marks the store as of the present format, and refuses a later version's.
func (s *Store) checkFormat() error {
	value, closer, err := s.db.Get([]byte(formatKey))
	if err == nil {
		n, bad := strconv.Atoi(string(value))
		switch closer.Close(); {
		case bad != nil || n < 1 || n > format:
			return fmt.Errorf("store of readings: format %q is not one that this gnomon reads (1 to %d); run the version that wrote it, or a later one", value, format)
		case n == format:
			return nil
		}
	} else if err != pebble.ErrNotFound { //nolint:errorlint // pebble returns the sentinel itself
		return err
	}
	return s.db.Set([]byte(formatKey), strconv.AppendInt(nil, format, 10), pebble.Sync)
}
