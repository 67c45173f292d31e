package broker

import (
	"fmt"
	"strings"
	"testing"

	"gnomon/shadow/wire"
)

// One request more than may be unanswered is rejected with 429, acknowledged,
// and costs the client nothing else: neither its connection nor its other
// requests; and once those are answered it may go on.
func TestThrottle(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			waiting := make(chan func(error), 16)
			_, address := start(t, service(func(_ wire.Topic, _ []byte, done func(error)) { waiting <- done }), nil)
			listener := connectRaw(t, address, 4, "listener")
			listener.send(subscribePacket(4, 1, updateTopic+"/rejected"))
			listener.expect(0x90)
			c := connectRaw(t, address, version, "c")
			for id := range uint16(11) {
				c.send(publishPacket(version, updateTopic, id+1, fmt.Sprintf(`{"clientToken":"r%d"}`, id+1)))
			}
			if body := c.expect(0x40); body[1] != 11 {
				t.Errorf("acknowledged %d first, want the rejected 11", body[1])
			}
			if body := string(listener.expect(0x30)); !strings.Contains(body, `{"code":429,"message":"Too many requests","timestamp":`) || !strings.HasSuffix(body, `"clientToken":"r11"}`) {
				t.Errorf("rejected with %q", body)
			}
			for range 10 {
				(<-waiting)(nil)
			}
			for id := range uint16(10) {
				if body := c.expect(0x40); body[1] != byte(id+1) {
					t.Fatalf("acknowledged %d, want %d", body[1], id+1)
				}
			}
			c.send(publishPacket(version, updateTopic, 12, "{}"))
			(<-waiting)(nil)
			c.expect(0x40)
		})
	}
}
