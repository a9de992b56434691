package qmp

import (
	"reflect"

	"govmd/internal/option"
	"govmd/internal/qmp/qjson"
)

func (d *decoder) scalar(ti *typeInfo, v Value, dst reflect.Value) error {
	if d.mode == Keyval {
		if v.Kind() != qjson.String {
			return Errorf("Parameters '%s.*' are unexpected", d.fullName(""))
		}
		return d.text(ti, v, dst)
	}
	switch ti.kind {
	case kindBool:
		if v.Kind() != qjson.Bool {
			return d.typeError("boolean")
		}
		dst.SetBool(v.Bool())
	case kindInt:
		n, ok := v.Int()
		if !ok {
			return d.typeError("integer")
		}
		return d.setInt(ti, n, dst)
	case kindUint:
		n, ok := v.Uint()
		if i, isInt := v.Int(); isInt {
			n, ok = uint64(i), true // a negative number counts down from 2^64
		}
		if !ok {
			return d.expects("uint64")
		}
		return d.setUint(ti, n, dst)
	case kindSize:
		n, ok := v.Uint()
		if !ok {
			return d.expects("uint64")
		}
		dst.SetUint(n)
	case kindFloat:
		f, ok := v.Float()
		if !ok {
			return d.typeError("number")
		}
		dst.SetFloat(f)
	case kindString, kindEnum:
		if v.Kind() != qjson.String {
			return d.typeError("string")
		}
		return d.text(ti, v, dst)
	}
	return nil
}

// text converts a String: a string or enumeration, and in option text any scalar.
func (d *decoder) text(ti *typeInfo, v Value, dst reflect.Value) error {
	switch ti.kind {
	case kindString:
		dst.SetString(v.Text())
	case kindEnum:
		for _, s := range ti.enum {
			if s == string(v.Bytes()) {
				dst.SetString(s) // no copy
				return nil
			}
		}
		return notAccepted(d.lastName(), v.Text())
	case kindBool:
		b, err := option.ParseBool(v.Text())
		if err != nil {
			return d.expects("'on' or 'off'")
		}
		dst.SetBool(b)
	case kindInt:
		n, err := option.ParseInt(v.Text())
		if err != nil {
			return d.expects("integer")
		}
		return d.setInt(ti, n, dst)
	case kindUint:
		n, err := option.ParseUint(v.Text())
		if err != nil {
			return d.expects("integer")
		}
		return d.setUint(ti, n, dst)
	case kindSize:
		n, err := option.ParseSize(v.Text())
		if err != nil {
			return d.expects("size")
		}
		dst.SetUint(n)
	case kindFloat:
		f, err := option.ParseFloat(v.Text())
		if err != nil {
			return d.expects("number")
		}
		dst.SetFloat(f)
	}
	return nil
}

func (d *decoder) setInt(ti *typeInfo, n int64, dst reflect.Value) error {
	if dst.OverflowInt(n) {
		return InvalidValue(d.lastName(), ti.cName())
	}
	dst.SetInt(n)
	return nil
}

func (d *decoder) setUint(ti *typeInfo, n uint64, dst reflect.Value) error {
	if dst.OverflowUint(n) {
		return InvalidValue(d.lastName(), ti.cName())
	}
	dst.SetUint(n)
	return nil
}
