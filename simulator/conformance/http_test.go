package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func (c *httpClient) expect(t *testing.T, method, path, body string, code int, message string) {
	t.Helper()
	got, err := c.send(t.Context(), method, c.base+path, body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return
	}
	if got.code != code {
		t.Errorf("%s %s: %d, want %d: %s", method, path, got.code, code, got.body)
		return
	}
	if code == http.StatusOK {
		return
	}
	text, _, err := rejection(got, HTTP)
	if err != nil || !strings.Contains(text, message) {
		t.Errorf("%s %s: %q, want %q (%v)", method, path, text, message, err)
	}
}

// Line 1 and the error table, over HTTP: names that no shadow can have, methods
// and paths that there are not. Every answer has the contract's shape.
func TestHTTP_Refusals(t *testing.T) {
	c := &httpClient{base: "http://" + service(t).HTTP}
	defer c.close()
	long := strings.Repeat("t", 129)
	for _, name := range []string{long, "a.b", "a b", "é", "$a", "a/b", "#", "a+b", "%"} {
		for _, method := range methods {
			c.expect(t, method, "/things/"+url.PathEscape(name)+"/shadow", `{"state":{}}`, 400, "")
		}
		c.expect(t, http.MethodGet, "/api/things/shadow/ListNamedShadowsForThing/"+url.PathEscape(name), "", 400, "")
	}
	for _, name := range []string{"", long[:65], "a.b", "a b", "a/b", "é"} {
		for _, method := range methods {
			c.expect(t, method, "/things/t/shadow?name="+url.QueryEscape(name), `{"state":{}}`, 400, "Invalid shadow name")
		}
	}
	c.expect(t, http.MethodPut, "/things/t/shadow", "{}", 405, "Method Not Allowed")
	c.expect(t, http.MethodPost, "/api/things/shadow/ListNamedShadowsForThing/t", "{}", 405, "Method Not Allowed")
	c.expect(t, http.MethodGet, "/things/t/other", "", 404, "Not Found")
	c.expect(t, http.MethodPost, "/things/t/shadow", `{"state":{"desired":{"a":"`+strings.Repeat("x", 200<<10)+`"}}}`, 413, "The payload exceeds the maximum size allowed")
}

type listPage struct {
	Results   []string `json:"results"`
	NextToken *string  `json:"nextToken"`
	Timestamp int64    `json:"timestamp"`
}

func (c *httpClient) list(t *testing.T, thing, query string) (p listPage, raw string) {
	t.Helper()
	got, err := c.send(t.Context(), http.MethodGet, c.base+"/api/things/shadow/ListNamedShadowsForThing/"+thing+query, "")
	if err != nil || got.code != http.StatusOK {
		t.Fatalf("list: %d %s (%v)", got.code, got.body, err)
	}
	if err := json.Unmarshal(got.body, &p); err != nil {
		t.Fatal(err)
	}
	return p, string(got.body)
}

// ListNamedShadowsForThing: in order, in pages, without the classic shadow and
// without what is deleted.
func TestHTTP_ListNamedShadows(t *testing.T) {
	cfg := service(t)
	about := subject(Case{}, false)
	c := &httpClient{base: "http://" + cfg.HTTP, about: about}
	defer c.close()
	if _, raw := c.list(t, about.Thing, ""); !strings.Contains(raw, `"results":[]`) || strings.Contains(raw, "nextToken") {
		t.Errorf("an unknown thing: %s, want no results and no token", raw)
	}
	var want []string
	for i := range 30 {
		c.about.Shadow = fmt.Sprintf("s$%02d", i)
		want = append(want, c.about.Shadow)
		c.update(t, `{"state":{}}`)
	}
	c.about.Shadow = "deleted"
	c.update(t, `{"state":{}}`)
	if got, err := c.do(t.Context(), Delete, ""); err != nil || got.code != 200 {
		t.Fatal(got, err)
	}
	c.about.Shadow = ""
	c.update(t, `{"state":{}}`)
	for _, size := range []string{"?pageSize=1", "?pageSize=7", "?pageSize=30", "?pageSize=100", ""} {
		var all []string
		token := ""
		for {
			query := size
			if token != "" {
				query = strings.TrimPrefix(size+"&nextToken="+url.QueryEscape(token), "&")
				query = "?" + strings.TrimPrefix(query, "?")
			}
			page, _ := c.list(t, about.Thing, query)
			all = append(all, page.Results...)
			if page.Timestamp == 0 || len(all) > len(want) {
				t.Fatalf("%s: %+v", query, page)
			}
			if page.NextToken == nil {
				break
			}
			token = *page.NextToken
		}
		if !slices.Equal(all, want) {
			t.Errorf("%s: %v, want %v", size, all, want)
		}
	}
	for _, query := range []string{"?pageSize=0", "?pageSize=101", "?pageSize=x", "?nextToken=%21"} {
		c.expect(t, http.MethodGet, "/api/things/shadow/ListNamedShadowsForThing/"+about.Thing+query, "", 400, "")
	}
}

func (c *httpClient) update(t *testing.T, body string) {
	t.Helper()
	if got, err := c.do(t.Context(), Update, body); err != nil || got.code != 200 {
		t.Fatalf("update: %+v %v", got, err)
	}
}

// An SDK sends a colon in a name as %3A.
func TestHTTP_EncodedNames(t *testing.T) {
	c := &httpClient{base: "http://" + service(t).HTTP}
	defer c.close()
	c.expect(t, http.MethodPost, "/things/a%3Ab/shadow?name=%24x", `{"state":{}}`, 200, "")
	c.expect(t, http.MethodGet, "/things/a:b/shadow?name=$x", "", 200, "")
}
