package sock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"govmd/internal/qmp"
)

// resolve returns the addresses that i may mean, as host texts, and the port.
func (i *Inet) resolve(ctx context.Context, network string, listen bool) (hosts []string, port int, err error) {
	fam, err := i.family()
	if err != nil {
		return nil, 0, err
	}
	fail := func(why string) error {
		return fmt.Errorf("address resolution failed for %s:%s: %s", i.Host, i.Port, why)
	}
	if port, err = i.port(ctx, network); err != nil {
		return nil, 0, fail(err.Error())
	}
	if i.Host == "" {
		if listen {
			return []string{""}, port, nil
		}
		return nil, 0, fail("Name or service not known")
	}
	if ip := net.ParseIP(i.Host); ip != nil || strings.Contains(i.Host, "%") || on(i.Numeric) {
		if ip == nil && on(i.Numeric) {
			return nil, 0, fail("Name or service not known")
		}
		if fam == "4" && ip.To4() == nil || fam == "6" && ip.To4() != nil {
			return nil, 0, fail("Address family for hostname not supported")
		}
		return []string{i.Host}, port, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+fam, i.Host)
	if err != nil {
		if ctx.Err() != nil {
			return nil, 0, fmt.Errorf("address resolution for %s:%s: %w", i.Host, i.Port, context.Cause(ctx))
		}
		var dns *net.DNSError
		if errors.As(err, &dns) && (dns.IsTemporary || dns.IsTimeout) {
			return nil, 0, fail("Temporary failure in name resolution")
		}
		return nil, 0, fail("Name or service not known")
	}
	for _, a := range addrs {
		hosts = append(hosts, a.Unmap().String())
	}
	return hosts, port, nil
}

func (i *Inet) port(ctx context.Context, network string) (int, error) {
	if n, err := strconv.ParseUint(i.Port, 10, 32); err == nil {
		if n > 65535 {
			return 0, errors.New("port is above 65535")
		}
		return int(n), nil
	}
	if i.Port == "" {
		return 0, errors.New("Name or service not known")
	}
	if !on(i.Numeric) {
		if n, err := net.DefaultResolver.LookupPort(ctx, network, i.Port); err == nil {
			return n, nil
		}
	}
	return 0, errors.New("Servname not supported for ai_socktype")
}

// reason is why a call of package net failed, in the words of the system.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return SystemText(err)
}

// sysError is an error of the system whose text begins as clients know it:
// "Connection refused".
type sysError struct{ unix.Errno }

func (e sysError) Error() string { return qmp.Strerror(e.Errno) }

// Unwrap returns the error number.
func (e sysError) Unwrap() error { return e.Errno }

// SystemText returns err with the reason that the system gave, if it did, in the
// words that clients know: "No such file or directory".
func SystemText(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return sysError{errno}
	}
	return err
}
