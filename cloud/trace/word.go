package trace

import (
	"encoding/binary"
	"errors"
	"time"

	"gnomon/cloud/store"
)

// A word is what one replica tells the others of a change that all of them heard
// of: format (1 byte), kind (1 byte), flags (1 byte), version, three numbers, a
// time in nanoseconds since 1970 (uvarints), and thing, shadow and client, each
// with its length as a uvarint before it. What follows is of later versions.
type word struct {
	kind      byte
	thing     string
	shadow    string
	version   uint64
	client    string
	persisted bool
	again     bool
	sent      Sent
	at        time.Time
}

const wordFormat = 1

// The kinds of words. Others are of later versions, and left alone.
const (
	wordSent      = 's' // a change was published to clients
	wordDelivered = 'd' // a client acknowledged a change
	wordLeft      = 'l' // a client's connection has ended
)

const (
	flagPersisted = 1 << iota
	flagAgain
	flagKnown
)

var errWord = errors.New("malformed word")

func (w word) id() id { return id{store.Key{Thing: w.thing, Shadow: w.shadow}, w.version} }

func (w word) append(dst []byte) []byte {
	var flags byte
	for _, f := range []struct {
		on   bool
		flag byte
	}{{w.persisted, flagPersisted}, {w.again, flagAgain}, {w.sent.Known, flagKnown}} {
		if f.on {
			flags |= f.flag
		}
	}
	dst = append(dst, wordFormat, w.kind, flags)
	at := uint64(0)
	if !w.at.IsZero() {
		at = uint64(w.at.UnixNano())
	}
	for _, n := range []uint64{w.version, uint64(w.sent.Push), uint64(w.sent.Delta), uint64(w.sent.Acknowledging), at} {
		dst = binary.AppendUvarint(dst, n)
	}
	for _, s := range []string{w.thing, w.shadow, w.client} {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	return dst
}

// maxListeners bounds what another replica says of its clients.
const maxListeners = 1 << 30

func parseWord(b []byte) (w word, err error) {
	if len(b) < 3 || b[0] != wordFormat {
		return word{}, errWord
	}
	w.kind = b[1]
	w.persisted, w.again, w.sent.Known = b[2]&flagPersisted != 0, b[2]&flagAgain != 0, b[2]&flagKnown != 0
	b = b[3:]
	var numbers [5]uint64
	for i := range numbers {
		n, used := binary.Uvarint(b)
		if used <= 0 {
			return word{}, errWord
		}
		numbers[i], b = n, b[used:]
	}
	w.version = numbers[0]
	w.sent.Push, w.sent.Delta, w.sent.Acknowledging = int(min(numbers[1], maxListeners)), int(min(numbers[2], maxListeners)), int(min(numbers[3], maxListeners))
	if numbers[4] > 0 {
		w.at = time.Unix(0, int64(numbers[4]&(1<<63-1)))
	}
	for _, text := range []*string{&w.thing, &w.shadow, &w.client} {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return word{}, errWord
		}
		*text, b = string(b[used:used+int(n)]), b[used+int(n):]
	}
	return w, nil
}

func (l *Log) tell(w word) {
	if l.cfg.Tell != nil {
		l.cfg.Tell(w.thing, w.append(nil))
	}
}

// Hear takes in a word of another replica.
func (l *Log) Hear(b []byte) error {
	w, err := parseWord(b)
	if err != nil {
		return err
	}
	switch w.kind {
	case wordSent:
		l.sentElsewhere(w)
	case wordDelivered:
		l.mu.Lock()
		if c := l.versions[w.id()]; c != nil {
			l.deliver(c, w.client, w.persisted, w.again, w.at)
		}
		l.mu.Unlock()
	case wordLeft:
		l.leftElsewhere(w)
	}
	return nil
}
