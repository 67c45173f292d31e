package rest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A message that is being sent when the server ends still arrives, and so does why
// there are no more.
func TestSocketStream_SendsWhileTheServerEnds(t *testing.T) {
	ended, end := context.WithCancel(context.Background())
	end()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		stream := socketStream{conn: conn}
		if err := stream.send(ended, mark{"7", "idle"}); err != nil {
			t.Errorf("send: %v", err)
		}
		_ = conn.Close(websocket.StatusGoingAway, "the server ends")
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	if _, data, err := conn.Read(ctx); err != nil || string(data) != `{"id":"7","kind":"idle"}` {
		t.Errorf("%s %v", data, err)
	}
	if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("at the end: %v", err)
	}
}

// A server has ended only when who follows events has been told; somebody who
// doesn't listen is not waited for.
func TestRun_AwaitsStreams(t *testing.T) {
	for name, leaves := range map[string]bool{"who leaves": true, "who stays": false} {
		t.Run(name, func(t *testing.T) {
			s := New(Config{Address: "127.0.0.1:0"})
			if _, err := s.Listen(); err != nil {
				t.Fatal(err)
			}
			leave, err := s.enter()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			if leaves {
				select {
				case err := <-ended:
					t.Fatalf("ended meanwhile: %v", err)
				case <-time.After(250 * time.Millisecond):
				}
				leave()
			}
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(10 * time.Second):
				t.Error("it doesn't end")
			}
		})
	}
}
