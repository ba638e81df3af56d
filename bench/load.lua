-- SPDX-License-Identifier: Apache-2.0
--
-- wrk sends the requests of a file, which request.py wrote as they go over the wire. Between two of
-- them is a line of its own, and where an id belongs is a placeholder of the same width: the length
-- of a body never changes, and a request costs one join of its pieces.
--
-- Arguments: the file, the separator, the placeholder, and the word with which this run's ids begin.

local requests = {}
local threads = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

local function pieces(text, separator)
    local found, from = {}, 1
    while true do
        local first, last = text:find(separator, from, true)
        found[#found + 1] = text:sub(from, (first or 0) - 1)
        if not first then
            return found
        end
        from = last + 1
    end
end

function init(args)
    local file = assert(io.open(args[1], "rb"))
    for _, text in ipairs(pieces(file:read("*a"), args[2])) do
        requests[#requests + 1] = pieces(text, args[3])
    end
    file:close()

    local width = #args[3]
    local word = args[4] .. number
    local serial, count = 0, #requests
    local form = word .. "%0" .. (width - #word) .. "d"
    local format, concat = string.format, table.concat
    if count == 1 and #requests[1] == 1 then
        local only = requests[1][1]
        request = function()
            return only
        end
        return
    end
    request = function()
        serial = serial + 1
        return concat(requests[serial % count + 1], format(form, serial))
    end
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format(
        '\nRESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "max_us": %d,'
            .. ' "not_2xx": %d, "socket_errors": %d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
        e.status, e.connect + e.read + e.write + e.timeout))
end
