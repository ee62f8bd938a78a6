-- A session at random for each request. Arguments: file of ids (43 characters a line), cookie name, Host field.
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
dofile(folder .. "report.lua")

local LINE = 44
local ids, count, head

function init(args)
  local file = assert(io.open(args[1], "rb"))
  ids = file:read("*a")
  file:close()
  count = #ids / LINE
  head = "GET / HTTP/1.1\r\nHost: " .. args[3] .. "\r\nCookie: " .. args[2] .. "="
  math.randomseed(os.time())
end

function request()
  local at = math.random(0, count - 1) * LINE
  return head .. ids:sub(at + 1, at + LINE - 1) .. "\r\n\r\n"
end
