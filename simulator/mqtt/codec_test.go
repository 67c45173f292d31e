package mqtt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEncodeGoldenBytes(t *testing.T) {
	connect, err := appendConnect(nil, &Options{ClientID: "n1", KeepAlive: time.Minute, MaxPacket: 0x40000, ReceiveMax: 32})
	check(t, err)
	login, err := appendConnect(nil, &Options{ClientID: "n1", Username: "u", Password: []byte("p"), KeepAlive: time.Second, MaxPacket: 1, ReceiveMax: 1})
	check(t, err)
	subscribe, err := appendSubscribe(nil, 7, 1, []string{"a/b", "+"})
	check(t, err)
	qos0, err := appendPublish(nil, "a/b", []byte("hi"), 0, 0)
	check(t, err)
	qos1, err := appendPublish(nil, "a/b", []byte("hi"), 1, 0x1234)
	check(t, err)
	for _, tc := range []struct {
		name, want string
		got        []byte
	}{
		{"connect", "10 17 0004 4d515454 05 02 003c 08 21 0020 27 00040000 0002 6e31", connect},
		{"connect with login", "10 1d 0004 4d515454 05 c2 0001 08 21 0001 27 00000001 0002 6e31 0001 75 0001 70", login},
		{"subscribe", "82 0d 0007 00 0003 612f62 01 0001 2b 01", subscribe},
		{"publish at QoS 0", "30 08 0003 612f62 00 6869", qos0},
		{"publish at QoS 1", "32 0a 0003 612f62 1234 00 6869", qos1},
		{"puback", "40 02 1234", appendPuback(nil, 0x1234)},
		{"pingreq", "c0 00", appendPingreq(nil)},
		{"disconnect", "e0 00", appendDisconnect(nil)},
		{"uvarint of two bytes", "8001", appendUvarint(nil, 128)},
		{"uvarint, largest", "ffffff7f", appendUvarint(nil, maxRemaining)},
	} {
		if want := unhex(t, tc.want); !bytes.Equal(tc.got, want) {
			t.Errorf("%s:\n got %x\nwant %x", tc.name, tc.got, want)
		}
	}
}

func TestParseGoldenBytes(t *testing.T) {
	for _, tc := range []struct {
		name, bytes string
		want        Packet
	}{
		{"connack", "20 03 00 00 00", Packet{Type: CONNACK, Server: Server{ReceiveMax: 65535}}},
		{"connack with what the server states", "20 10 01 00 0d 21 0010 27 00010000 13 0014 25 01",
			Packet{Type: CONNACK, Server: Server{SessionPresent: true, ReceiveMax: 16, MaxPacket: 65536, KeepAlive: 20, HasKeepAlive: true}}},
		{"connack, refused", "20 03 00 87 00", Packet{Type: CONNACK, Reason: 0x87, Server: Server{ReceiveMax: 65535}}},
		{"publish at QoS 0", "30 08 0003 612f62 00 6869", Packet{Type: PUBLISH, Topic: "a/b", Payload: []byte("hi")}},
		{"publish at QoS 1, dup and retained", "3b 0a 0003 612f62 1234 00 6869",
			Packet{Type: PUBLISH, Topic: "a/b", Payload: []byte("hi"), QoS: 1, ID: 0x1234, Dup: true, Retain: true}},
		{"publish with user, type and identifier properties", "30 12 0001 61 0c 26 0001 6b 0001 76 01 01 0b 8001 6869",
			Packet{Type: PUBLISH, Topic: "a", Payload: []byte("hi")}},
		{"puback", "40 02 1234", Packet{Type: PUBACK, ID: 0x1234}},
		{"puback with a reason", "40 03 1234 10", Packet{Type: PUBACK, ID: 0x1234, Reason: 0x10}},
		{"puback with a reason text", "40 08 1234 87 04 1f 0001 78", Packet{Type: PUBACK, ID: 0x1234, Reason: 0x87}},
		{"suback", "90 05 0007 00 01 80", Packet{Type: SUBACK, ID: 7, Reasons: []byte{1, 0x80}}},
		{"pingresp", "d0 00", Packet{Type: PINGRESP}},
		{"disconnect", "e0 00", Packet{Type: DISCONNECT}},
		{"disconnect with a reason", "e0 02 8b 00", Packet{Type: DISCONNECT, Reason: 0x8b}},
	} {
		frame := unhex(t, tc.bytes)
		length, n := uvarint(frame[1:])
		if int(length) != len(frame)-1-n {
			t.Fatalf("%s: the golden bytes have remaining length %d, not %d", tc.name, length, len(frame)-1-n)
		}
		got, err := Parse(frame[0], frame[1+n:])
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tc.name, got, tc.want)
		}
	}
}

func TestParseRefusesMalformed(t *testing.T) {
	for _, tc := range []struct{ name, header, body, says string }{
		{"connack without properties", "20", "0000", "property length"},
		{"connack, reserved flag", "20", "020000", "reserved"},
		{"connack, receive maximum 0", "20", "0000 03 21 0000", "receive maximum"},
		{"connack with more behind", "20", "000000 00", "after its end"},
		{"publish cut in the topic", "30", "0005 61", "cut short"},
		{"publish cut in the properties", "30", "0001 61 05 01", "cut short"},
		{"publish without topic", "30", "0000 00", "without a topic"},
		{"publish at QoS 2", "34", "0001 61 0001 00", "QoS"},
		{"publish with packet identifier 0", "32", "0001 61 0000 00", "identifier 0"},
		{"publish with an unknown property", "30", "0001 61 02 7f 00", "unknown property"},
		{"publish with an endless property length", "30", "0001 61 ffffffff", "property length"},
		{"puback with flags", "41", "0001", "flags"},
		{"puback cut short", "40", "00", "cut short"},
		{"suback without codes", "90", "0001 00", "without reason codes"},
		{"pingresp with a body", "d0", "00", "after its end"},
		{"a packet only clients send", "82", "0001 00", "flags"},
		{"pubrec", "50", "0001", "no server sends"},
	} {
		_, err := Parse(unhex(t, tc.header)[0], unhex(t, tc.body))
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: got %v, want ErrMalformed saying %q", tc.name, err, tc.says)
		}
	}
}

func TestEncodeRefusesWhatMQTTCannotCarry(t *testing.T) {
	long := strings.Repeat("x", 65536)
	if _, err := appendConnect(nil, &Options{ClientID: long}); err == nil || !strings.Contains(err.Error(), "65536") {
		t.Errorf("client ID: %v", err)
	}
	if _, err := appendPublish(nil, "", nil, 0, 0); err == nil {
		t.Error("an empty topic was taken")
	}
	if _, err := appendPublish(nil, long, nil, 0, 0); err == nil {
		t.Error("a topic of 65536 bytes was taken")
	}
	if _, err := appendSubscribe(nil, 1, 1, []string{""}); err == nil {
		t.Error("an empty filter was taken")
	}
}

// FuzzReader feeds arbitrary bytes, in two pieces, to the reader. It must never
// panic, take more than its limit, nor hand out a packet that differs from what
// the same bytes give in one piece.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{"2003000000", "30080003612f62006869", "40021234", "90050007000180", "d000", "e0028b00", "30ffffffff", "82060001000001 61"} {
		b, err := hex.DecodeString(strings.ReplaceAll(seed, " ", ""))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, 3)
		f.Add(append(b, b...), 1)
	}
	f.Fuzz(func(t *testing.T, input []byte, cut int) {
		whole := drain(t, bytes.NewReader(input))
		cut = min(max(cut, 0), len(input))
		pieces := drain(t, &twoReads{input[:cut], input[cut:]})
		if !reflect.DeepEqual(whole, pieces) {
			t.Fatalf("in one piece %+v, in two %+v", whole, pieces)
		}
		for _, p := range whole {
			if p.Type != PUBLISH {
				continue
			}
			again, err := appendPublish(nil, p.Topic, p.Payload, p.QoS, p.ID)
			if err != nil {
				t.Fatalf("encode %+v: %v", p, err)
			}
			_, n := uvarint(again[1:])
			back, err := Parse(again[0], again[1+n:])
			if err != nil || back.Topic != p.Topic || !bytes.Equal(back.Payload, p.Payload) || back.ID != p.ID {
				t.Fatalf("%+v came back as %+v, %v", p, back, err)
			}
		}
	})
}

// twoReads yields its two pieces in separate reads.
type twoReads struct{ first, second []byte }

func (r *twoReads) Read(b []byte) (int, error) {
	if len(r.first) == 0 {
		r.first, r.second = r.second, nil
	}
	if len(r.first) == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.first)
	r.first = r.first[n:]
	return n, nil
}

// drain reads packets until the first error and checks the reader's bounds.
func drain(t *testing.T, src io.Reader) []Packet {
	t.Helper()
	const limit = 1024
	r := reader{src: src, limit: limit, traffic: new(Traffic)}
	var all []Packet
	for {
		p, err := r.next()
		if cap(r.buf) > keepBuffer {
			t.Fatalf("buffer of %d bytes under a limit of %d", cap(r.buf), limit)
		}
		if err != nil {
			return all
		}
		p.Payload, p.Reasons = bytes.Clone(p.Payload), bytes.Clone(p.Reasons)
		all = append(all, p)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
