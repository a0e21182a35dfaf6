
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Clocks that are read anew in each call.  nginx updates ngx_current_msec and
 * ngx_time() once for each round of the event loop.
 */


#ifndef _NGX_APIKEYS_CLOCK_H_INCLUDED_
#define _NGX_APIKEYS_CLOCK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * ms since the machine was booted, time asleep included: for ages and leases.
 * It is the same in all processes of the machine.
 */
uint64_t ngx_apikeys_clock_boot_ms(void);

/* us, monotonic: for the duration of a slice of work */
uint64_t ngx_apikeys_clock_usec(void);

/* ms since 1970: for times that are read after a reboot or elsewhere */
uint64_t ngx_apikeys_clock_wall_ms(void);


#endif /* _NGX_APIKEYS_CLOCK_H_INCLUDED_ */
