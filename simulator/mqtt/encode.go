package mqtt

import (
	"encoding/binary"
	"fmt"
)

// maxRemaining is the largest remaining length MQTT can express.
const maxRemaining = 268435455

// appendConnect appends a CONNECT with no will.
func appendConnect(dst []byte, o *Options) ([]byte, error) {
	for _, f := range []struct{ name, value string }{{"client ID", o.ClientID}, {"user name", o.Username}, {"password", string(o.Password)}} {
		if len(f.value) > 65535 {
			return nil, fmt.Errorf("mqtt: %s of %d bytes, the limit is 65535", f.name, len(f.value))
		}
	}
	flags := byte(0x02) // clean start: what was missed is found by syncing, not by replay
	if o.Username != "" {
		flags |= 0x80
	}
	if len(o.Password) > 0 {
		flags |= 0x40
	}
	body := make([]byte, 0, 64+len(o.ClientID)+len(o.Username)+len(o.Password))
	body = append(body, 0, 4, 'M', 'Q', 'T', 'T', 5, flags)
	body = binary.BigEndian.AppendUint16(body, uint16(o.KeepAlive.Seconds()))
	props := make([]byte, 0, 8)
	props = binary.BigEndian.AppendUint16(append(props, propReceiveMax), o.ReceiveMax)
	props = binary.BigEndian.AppendUint32(append(props, propMaxPacket), uint32(o.MaxPacket))
	body = append(append(body, byte(len(props))), props...)
	body = appendText(body, o.ClientID)
	if o.Username != "" {
		body = appendText(body, o.Username)
	}
	if len(o.Password) > 0 {
		body = appendText(body, string(o.Password))
	}
	return appendFrame(dst, CONNECT, 0, body), nil
}

// appendSubscribe appends a SUBSCRIBE for filters, all at one QoS.
func appendSubscribe(dst []byte, id uint16, qos byte, filters []string) ([]byte, error) {
	body := binary.BigEndian.AppendUint16(make([]byte, 0, 64*len(filters)+3), id)
	body = append(body, 0)
	for _, f := range filters {
		if len(f) == 0 || len(f) > 65535 {
			return nil, fmt.Errorf("mqtt: topic filter of %d bytes, it must have 1 to 65535", len(f))
		}
		body = append(appendText(body, f), qos)
	}
	return appendFrame(dst, SUBSCRIBE, 2, body), nil
}

// appendPublish appends a PUBLISH; id is ignored at QoS 0.
func appendPublish(dst []byte, topic string, payload []byte, qos byte, id uint16) ([]byte, error) {
	if len(topic) == 0 || len(topic) > 65535 {
		return nil, fmt.Errorf("mqtt: topic of %d bytes, it must have 1 to 65535", len(topic))
	}
	size := 2 + len(topic) + 1 + len(payload)
	if qos > 0 {
		size += 2
	}
	if size > maxRemaining {
		return nil, fmt.Errorf("mqtt: packet of %d bytes, the limit is %d", size, maxRemaining)
	}
	dst = append(dst, byte(PUBLISH)<<4|qos<<1)
	dst = appendUvarint(dst, uint32(size))
	dst = appendText(dst, topic)
	if qos > 0 {
		dst = binary.BigEndian.AppendUint16(dst, id)
	}
	dst = append(dst, 0)
	return append(dst, payload...), nil
}

// appendPuback appends a PUBACK that means success.
func appendPuback(dst []byte, id uint16) []byte {
	return append(dst, byte(PUBACK)<<4, 2, byte(id>>8), byte(id))
}

func appendPingreq(dst []byte) []byte { return append(dst, byte(PINGREQ)<<4, 0) }

// appendDisconnect appends a DISCONNECT that means a normal end.
func appendDisconnect(dst []byte) []byte { return append(dst, byte(DISCONNECT)<<4, 0) }

func appendFrame(dst []byte, t Type, flags byte, body []byte) []byte {
	dst = append(dst, byte(t)<<4|flags)
	return append(appendUvarint(dst, uint32(len(body))), body...)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

func appendUvarint(dst []byte, v uint32) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}
