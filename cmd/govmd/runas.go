package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// identity is whom -runas names.
type identity struct {
	given    string
	uid, gid int
	groups   []int
}

func applyRunAs(s *setup, given, text string) error {
	id, err := lookupIdentity(text)
	if err != nil {
		return err
	}
	id.given = given
	s.runAs = id
	return nil
}

// lookupIdentity takes the name of a user, whose groups are then those of the
// system, or UID:GID, which has that one group.
func lookupIdentity(text string) (*identity, error) {
	unknown := fmt.Errorf("User \"%s\" doesn't exist (and is not <uid>:<gid>)", text)
	if uid, gid, ok := strings.Cut(text, ":"); ok {
		u, err1 := strconv.ParseUint(uid, 10, 32)
		g, err2 := strconv.ParseUint(gid, 10, 32)
		const nobody = 1<<32 - 1 // means "leave it" to the kernel
		if err1 != nil || err2 != nil || u == nobody || g == nobody {
			return nil, unknown
		}
		return &identity{uid: int(u), gid: int(g), groups: []int{int(g)}}, nil
	}
	u, err := user.Lookup(text)
	if err != nil {
		return nil, unknown
	}
	id := &identity{}
	if id.uid, err = strconv.Atoi(u.Uid); err != nil {
		return nil, unknown
	}
	if id.gid, err = strconv.Atoi(u.Gid); err != nil {
		return nil, unknown
	}
	names, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("cannot find the groups of user \"%s\": %w", text, err)
	}
	for _, n := range names {
		g, err := strconv.Atoi(n)
		if err != nil {
			return nil, fmt.Errorf("group %q of user \"%s\" has no number", n, text)
		}
		id.groups = append(id.groups, g)
	}
	return id, nil
}

// dropPrivileges becomes the user that -runas names, in all threads.
func (v *vm) dropPrivileges(context.Context) error {
	id := v.setup.runAs
	if id == nil {
		return nil
	}
	if err := id.become(); err != nil {
		return &usageError{id.given, err}
	}
	return nil
}

func (id *identity) become() error {
	if err := syscall.Setgroups(id.groups); err != nil {
		return fmt.Errorf("cannot set the groups to %v: %w", id.groups, err)
	}
	if err := syscall.Setresgid(id.gid, id.gid, id.gid); err != nil {
		return fmt.Errorf("failed to setgid(%d): %w", id.gid, err)
	}
	if err := syscall.Setresuid(id.uid, id.uid, id.uid); err != nil {
		return fmt.Errorf("failed to setuid(%d): %w", id.uid, err)
	}
	if id.uid != 0 && unix.Setuid(0) != syscall.EPERM {
		return errors.New("dropping privileges failed: the way back to root is open")
	}
	return nil
}
