package qtest

import "govmd/internal/chardev"

// Frontend is a server as the front end of a character device.
func Frontend(s *Server) chardev.ConnFrontend { return frontend{s} }

type frontend struct{ s *Server }

func (f frontend) ServeConn(c chardev.Conn) { _ = f.s.Serve(c) } // the peer has gone
func (frontend) CanReceive() int            { return 0 }
func (frontend) Receive([]byte)             {}
func (frontend) ChardevEvent(chardev.Event) {}
