package block

import "golang.org/x/sys/unix"

// messages are the texts of the C library where Go's, which begin with a small
// letter, are not what a user of the protocol has seen before.
var messages = map[unix.Errno]string{
	unix.EPERM: "Operation not permitted", unix.ENOENT: "No such file or directory", unix.EIO: "Input/output error",
	unix.ENXIO: "No such device or address", unix.EBADF: "Bad file descriptor", unix.EAGAIN: "Resource temporarily unavailable",
	unix.ENOMEM: "Cannot allocate memory", unix.EACCES: "Permission denied", unix.EFAULT: "Bad address",
	unix.EBUSY: "Device or resource busy", unix.EEXIST: "File exists", unix.ENODEV: "No such device",
	unix.ENOTDIR: "Not a directory", unix.EISDIR: "Is a directory", unix.EINVAL: "Invalid argument",
	unix.EFBIG: "File too large", unix.ENOSPC: "No space left on device", unix.ESPIPE: "Illegal seek",
	unix.EROFS: "Read-only file system", unix.EPIPE: "Broken pipe", unix.ERANGE: "Numerical result out of range",
	unix.ENOTSUP: "Operation not supported", unix.ENOMEDIUM: "No medium found", unix.ETIMEDOUT: "Connection timed out",
	unix.ECONNREFUSED: "Connection refused", unix.ECONNRESET: "Connection reset by peer", unix.ECANCELED: "Operation canceled",
	unix.EDQUOT: "Disk quota exceeded", unix.ESHUTDOWN: "Cannot send after transport endpoint shutdown", unix.EKEYREJECTED: "Key was rejected by service",
}

// Strerror returns the text of an error number as C programs give it.
func Strerror(no unix.Errno) string {
	if s, ok := messages[no]; ok {
		return s
	}
	return no.Error()
}
