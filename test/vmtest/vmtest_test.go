package vmtest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestConsoleWaitsInOrder(t *testing.T) {
	r, w := io.Pipe()
	c := NewConsole(r)
	go func() {
		for _, part := range []string{"one t", "wo three", " two four"} {
			io.WriteString(w, part)
		}
		w.Close()
	}()
	for _, want := range []struct{ text, all string }{
		{"two", "one two"},
		{"two", " three two"}, // the first is passed
	} {
		got, err := c.Wait(deadline(t), want.text)
		if err != nil || got != want.all {
			t.Errorf("Wait(%q) = %q, %v, want %q", want.text, got, err, want.all)
		}
	}
	if _, err := c.Wait(deadline(t), "three"); !errors.Is(err, io.EOF) {
		t.Errorf("after the end Wait returns %v", err)
	}
	if got := c.Text(); got != "one two three two four" {
		t.Errorf("Text is %q", got)
	}
}

// serve answers each line that it reads with the next answer.
func serve(t *testing.T, answers ...string) *QMP {
	t.Helper()
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		lines := bufio.NewScanner(server)
		io.WriteString(server, `{"QMP": {"version": {}}}`+"\n")
		for _, answer := range answers {
			if !lines.Scan() {
				return
			}
			_, id, _ := strings.Cut(lines.Text(), `"id":"`)
			id, _, _ = strings.Cut(id, `"`)
			io.WriteString(server, strings.ReplaceAll(answer, "ID", id)+"\n")
		}
	}()
	q, err := NewQMP(client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

const ok = `{"return": {}, "id": "ID"}`

func TestQMP(t *testing.T) {
	q := serve(t, ok,
		`{"event": "A"} {"return": {"n": 7}, "id": "ID"} {"event": "B", "data": {"x": 1}} {"event": "C"}`,
		`{"error": {"class": "GenericError", "desc": "no"}, "id": "ID"}`)
	ctx := deadline(t)
	var result struct{ N int }
	if err := q.Execute(ctx, "x", map[string]int{"a": 1}, &result); err != nil || result.N != 7 {
		t.Errorf("result is %v, %v", result, err)
	}
	if e, err := q.WaitEvent(ctx, "B"); err != nil || string(e.Data) != `{"x": 1}` {
		t.Errorf("event is %v, %v", e, err)
	}
	if _, err := q.WaitEvent(ctx, "C"); err != nil {
		t.Error(err)
	}
	var refused *Error
	if err := q.Execute(ctx, "y", nil, nil); !errors.As(err, &refused) || refused.Desc != "no" {
		t.Errorf("the refusal is %v", err)
	}
	if _, err := q.WaitEvent(ctx, "A"); !errors.Is(err, ErrLost) {
		t.Errorf("waiting for a dropped event gives %v", err)
	}
	if err := q.Execute(ctx, "z", nil, nil); !errors.Is(err, ErrLost) {
		t.Errorf("a command after the end gives %v", err)
	}
}
