package object

import (
	"context"
	"errors"
	"strings"
	"testing"

	"govmd/internal/lane"
)

// slow is an object that is long in the making.
type slow struct {
	Node
	bad bool
}

// finish is received from by each slow object before it is complete.
var finish = make(chan struct{})

func (s *slow) Finishing() bool { return true }

func (s *slow) Finish() error {
	<-finish
	if s.bad {
		return errors.New("it came to nothing")
	}
	return nil
}

func init() {
	Register(Type{Name: "test-slow", UserCreatable: true, New: func() Object { return &slow{} }, Props: []Property{
		Bool("bad", func(s *slow) *bool { return &s.bad }, false, ""),
	}})
}

// What takes long holds up nobody but who has asked for it.
func TestAddLater(t *testing.T) {
	l := lane.New()
	go l.Run()
	defer func() {
		l.Close()
		<-l.Done()
	}()
	s := &Collection{Lane: l}
	on := func(fn func()) {
		t.Helper()
		if err := l.Do(context.Background(), fn); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []bool{false, true} {
		done := make(chan error, 1)
		on(func() {
			s.AddLater(&Options{Type: "test-slow", ID: "x", Branch: &struct{ F0 *bool }{&bad}}, func(err error) { done <- err })
		})
		on(func() { // the lane is free, the object is there, and not to be had
			if err := s.Delete("x"); err == nil || !strings.Contains(err.Error(), "object-add, which is making it") {
				t.Errorf("delete: %v", err)
			}
			if err := s.Add(&Options{Type: "test-lamp", ID: "x", Branch: &struct {
				F0 uint64
				F1 *colour
				F2 *[]uint16
				F3 *[]spot
				F4 *bool
			}{F0: 1}}); err == nil {
				t.Error("the ID is given out twice")
			}
		})
		finish <- struct{}{}
		if err := <-done; (err != nil) != bad {
			t.Error(err)
		}
		on(func() {
			if there := s.Find("x") != nil; there == bad {
				t.Errorf("bad: %v, there: %v", bad, there)
			}
			_ = s.Delete("x") // the bad one has gone
		})
	}
	on(func() {
		s.AddLater(&Options{Type: "test-slow", ID: "y", Branch: &struct{ F0 *bool }{}}, func(error) {})
	})
	closed := make(chan struct{})
	go func() {
		on(s.Close)
		close(closed)
	}()
	finish <- struct{}{}
	<-closed
	on(func() {})
	if s.Find("y") != nil {
		t.Error("it outlives the collection")
	}
}
